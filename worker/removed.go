package worker

import (
	"context"
	"time"
)

// reportAfter is when a worker looks for chains that nobody runs: after a start or a
// reload, when the others have had time for theirs.
const reportAfter = 10 * time.Second

// reportRemoved logs, once after each start and reload, which chains the broker
// keeps a backlog for that no worker runs: nothing drops it, and nothing handles it.
func (w *Worker) reportRemoved(ctx context.Context, changed <-chan struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-changed: // the next set reports
		return
	case <-time.After(reportAfter):
	}
	b := w.config.Broker
	all, err := b.Backlogs(ctx)
	if err != nil {
		w.config.Logger.Debug("chains that nobody runs are not looked for", "error", err)
		return
	}
	for _, l := range all {
		if err := b.Measure(ctx, l); err != nil {
			w.config.Logger.Debug("a chain is not measured", "chain", l.Chain, "error", err)
			return
		}
		if l.Attended {
			continue
		}
		w.config.Logger.Warn("no worker runs this chain: its events wait for it, and what it has not settled is not purged; "+
			"put it back under the same name, or give its events up with belay chains delete",
			"chain", l.Chain, "events", l.Events(), "parked", l.Parked, "oldest", l.Oldest())
	}
}
