package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Start says where a consumer that does not exist yet begins.
type Start struct {
	// Earliest begins with the oldest message that is kept.
	Earliest bool
	// At begins with the first message stored then or later. Zero, and not
	// Earliest: with what comes from now on.
	At time.Time

	seq uint64 // with the message of this number or the next one; 0: see above
}

// ConsumerConfig describes a durable consumer, which remembers what is settled
// and shares a stream's messages among all processes that run it.
type ConsumerConfig struct {
	Stream, Name string
	// Filters are the subjects to take; none: all. They must not overlap.
	Filters []string
	// Start is used once, when the consumer is made. A stream of work always
	// begins with the oldest.
	Start Start
	// Generation is the version of the configuration that Filters come from. A
	// consumer is not changed by an older one, so that a pod that is being
	// replaced cannot narrow what its successor selects.
	Generation int
}

const generationKey = "belay.generation"

// Consumer takes messages from one stream.
type Consumer struct {
	b      *Broker
	stream string
	name   string
	cons   jetstream.Consumer

	generation int      // of the configuration that it was set up for here
	filters    []string // of that configuration, sorted
	looks      groups[context.Context]
}

// EnsureConsumer creates the consumer if it is missing and updates its filters
// if they differ and are not those of a newer generation.
func (b *Broker) EnsureConsumer(ctx context.Context, c ConsumerConfig) (*Consumer, error) {
	s, err := b.stream(ctx, c.Stream)
	if err != nil {
		return nil, err
	}
	filters := slices.Sorted(slices.Values(c.Filters))
	cons, err := s.Consumer(ctx, c.Name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		// Two pods may do this at once: with equal configurations both succeed.
		cons, err = s.CreateConsumer(ctx, c.config(s.CachedInfo().Config.Retention))
	case err == nil:
		have := cons.CachedInfo().Config
		stored, _ := strconv.Atoi(have.Metadata[generationKey])
		if stored > c.Generation {
			b.log.Warn("consumer belongs to a newer configuration, used as it is",
				"consumer", c.Name, "generation", c.Generation, "stored", stored)
			break
		}
		if stored == c.Generation && slices.Equal(filtersOf(have), filters) {
			break
		}
		want := have
		want.FilterSubject, want.FilterSubjects = "", c.Filters
		want.Metadata = maps.Clone(have.Metadata)
		if want.Metadata == nil {
			want.Metadata = map[string]string{}
		}
		want.Metadata[generationKey] = strconv.Itoa(c.Generation)
		cons, err = s.UpdateConsumer(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("set up the consumer %s on %s: %w", c.Name, c.Stream, brokerError(err))
	}
	consumer := &Consumer{b: b, stream: c.Stream, name: c.Name, cons: cons, generation: c.Generation, filters: filters}
	consumer.looks.commit = consumer.look
	return consumer, nil
}

// errForeign: the consumer selects for another configuration.
var errForeign = errors.New("the consumer is another configuration's")

// Foreign reports whether the consumer, as it is at the broker now, selects for
// another configuration than the one that it was set up for here by
// [Broker.EnsureConsumer]. Those who ask at the same time share one look, which
// begins after the last of them has asked.
func (c *Consumer) Foreign(ctx context.Context) (bool, error) {
	err := c.looks.add(ctx)
	if errors.Is(err, errForeign) {
		return true, nil
	}
	return false, err
}

// info is where the consumer stands, and how it is set up.
func (c *Consumer) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	info, err := c.cons.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up the consumer %s: %w", c.name, brokerError(err))
	}
	return info, nil
}

func (c *Consumer) look(asking []context.Context) error {
	// All who ask are of one worker and end together.
	info, err := c.info(asking[0])
	if err != nil {
		return err
	}
	stored, _ := strconv.Atoi(info.Config.Metadata[generationKey])
	if stored != c.generation || !slices.Equal(filtersOf(info.Config), c.filters) {
		return errForeign
	}
	return nil
}

func filtersOf(c jetstream.ConsumerConfig) []string {
	filters := slices.Clone(c.FilterSubjects)
	if c.FilterSubject != "" {
		filters = append(filters, c.FilterSubject)
	}
	slices.Sort(filters)
	return filters
}

func (c ConsumerConfig) config(retention jetstream.RetentionPolicy) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Durable:        c.Name,
		FilterSubjects: c.Filters,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        ackWait,
		MaxDeliver:     -1, // giving up is ours to decide, and to record
		MaxAckPending:  maxHeld,
		DeliverPolicy:  jetstream.DeliverNewPolicy,
		Metadata:       map[string]string{generationKey: strconv.Itoa(c.Generation)},
	}
	switch {
	case c.Start.Earliest, retention == jetstream.WorkQueuePolicy:
		config.DeliverPolicy = jetstream.DeliverAllPolicy
	case c.Start.seq > 0:
		config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		config.OptStartSeq = c.Start.seq
	case !c.Start.At.IsZero():
		config.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		config.OptStartTime = &c.Start.At
	}
	return config
}
