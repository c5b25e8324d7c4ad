package stream_test

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

// BenchmarkDedupWindow measures what the ids in the deduplication window cost
// the broker: memory, and time when it starts again. Events have 4 KiB.
//
//	go test -run '^$' -bench DedupWindow -benchtime 200000x ./pkg/stream
func BenchmarkDedupWindow(b *testing.B) {
	cost := func(window time.Duration) (heap, restart float64) {
		server := testbroker.Start(b)
		broker := server.Connect()
		if err := broker.Migrate(b.Context(), stream.Topology{Window: window}); err != nil {
			b.Fatal(err)
		}
		var g errgroup.Group
		g.SetLimit(256)
		body := make([]byte, 4<<10)
		for i := range b.N {
			g.Go(func() error {
				_, err := broker.StoreEvent(b.Context(), &event.Event{
					// As long as the ids of most providers.
					ID: "72d3162e-cc78-11e3-81ab-" + strconv.Itoa(1e11+i), Source: "/github/default", Type: "github.push",
					Receiver: "github", SourceID: "default", Body: body,
				})
				return err
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		broker.Close()
		began := time.Now()
		server.Restart()
		restart = time.Since(began).Seconds()
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc), restart
	}
	without, quick := cost(100 * time.Millisecond)
	with, slow := cost(24 * time.Hour)
	million := 1e6 / float64(b.N)
	b.ReportMetric((with-without)/1e6*million, "MB/million-ids")
	b.ReportMetric((slow-quick)*million, "restart-s/million-ids")
	b.ReportMetric(0, "ns/op")
}
