package console_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
)

// BenchmarkList lists pages of 100 000 dead letters: the newest, those of a rare
// type, and a walk over all of them. The memory is what is live after it.
func BenchmarkList(b *testing.B) {
	broker := testbroker.New(b)
	const letters = 100_000
	var wg sync.WaitGroup
	for part := range 64 {
		wg.Go(func() {
			for i := part; i < letters; i += 64 {
				kind := "push"
				if i%20_000 == 7 {
					kind = "rare"
				}
				bury(b, broker, "orders", uint64(i+1), fmt.Sprint("e", i), kind, "attempts_exhausted")
			}
		})
	}
	wg.Wait()
	d := newDesk(b, broker)
	for name, query := range map[string]string{
		"newest": "limit=50", "oldest": "limit=50&order=oldest", "rare, newest": "limit=50&type=rare", "rare, oldest": "limit=50&type=rare&order=oldest",
		"a page in the middle": "limit=500&order=oldest&cursor=NTAwMDA",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if got := len(ids(d.want(200, "GET", "/v1/deadletters?"+query, ""))); got < 5 {
					b.Fatalf("%d letters", got)
				}
			}
		})
	}
	b.Run("count all", func(b *testing.B) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for b.Loop() {
			if got := d.want(200, "POST", "/v1/jobs", `{"kind":"redrive","dry_run":true}`); got["total"] != float64(letters) {
				b.Fatal(got)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/1e6, "MB-live")
	})
}
