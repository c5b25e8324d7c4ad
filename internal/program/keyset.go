package program

import (
	"github.com/belay-hooks/belay/internal/seal"
	"github.com/belay-hooks/belay/pkg/config"
)

// Keyset is what the secrets of subscriptions are encrypted with: that of
// BELAY_KEYSET, or nil without it. A file that is no keyset is an error.
func Keyset(env config.OutboxEnv) (*seal.Box, error) {
	if env.Keyset == "" {
		return nil, nil
	}
	return seal.Load(env.Keyset)
}
