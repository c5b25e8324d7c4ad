package stream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Volume is how much a stream, or the stream of a bucket, holds and may hold, and on how
// many servers.
type Volume struct {
	Stream string
	// Bytes are what it holds. Limit is what it may hold; 0: what the disk does.
	Bytes, Limit int64
	// Replicas are the servers that should hold it, Current those that do and have
	// all of it.
	Replicas, Current int
}

// Volumes tells how much all streams of the topology hold.
func (b *Broker) Volumes(ctx context.Context) ([]Volume, error) {
	var all []Volume
	for _, name := range streamNames(b.shards) {
		s, err := b.stream(ctx, name)
		if err != nil {
			return nil, err
		}
		info, err := s.Info(ctx)
		if err != nil {
			return nil, fmt.Errorf("look up the stream %s: %w", name, brokerError(err))
		}
		all = append(all, Volume{
			Stream: name, Bytes: int64(info.State.Bytes), Limit: max(info.Config.MaxBytes, 0),
			Replicas: max(info.Config.Replicas, 1), Current: current(info.Cluster),
		})
	}
	return all, nil
}

// current counts the servers that have all of a stream. A server alone tells of no
// cluster.
func current(c *jetstream.ClusterInfo) int {
	if c == nil {
		return 1
	}
	n := 0
	if c.Leader != "" {
		n = 1
	}
	for _, r := range c.Replicas {
		if r.Current && !r.Offline {
			n++
		}
	}
	return n
}

// streamNames are all streams of a topology, with those of its buckets.
func streamNames(shards int) []string {
	t := Topology{Shards: shards}.withDefaults()
	var names []string
	for _, s := range t.streams() {
		names = append(names, s.Name)
	}
	for _, kv := range t.buckets() {
		names = append(names, bucketStream(kv.Bucket))
	}
	return names
}
