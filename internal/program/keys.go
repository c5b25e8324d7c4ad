package program

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/service"
)

// keysFile begins the value of a variable of keys that names a file which holds them.
const keysFile = "file:"

// keysEvery is how often a file of keys is looked at.
const keysEvery = 2 * time.Second

// Keys are those that BELAY_API_KEYS or BELAY_CONSOLE_KEYS holds: the keys themselves,
// with commas, or file:/path of a file that has them, with commas or a line each.
// Errors hold none of them.
func Keys(text config.Redacted) ([]string, error) {
	if !strings.HasPrefix(string(text), keysFile) {
		return text.List(), nil
	}
	secret, err := config.NewSecret(string(text), config.Options{})
	if err != nil {
		return nil, fmt.Errorf("the keys of the API: %w", err)
	}
	return readKeys(secret)
}

func readKeys(secret *config.Secret) ([]string, error) {
	value, err := secret.Value()
	if err != nil {
		return nil, fmt.Errorf("the keys of the API: %w", err)
	}
	return config.Redacted(strings.ReplaceAll(value, "\n", ",")).List(), nil
}

// WatchKeys is a component that hands the keys of the file to apply when they are
// others than before. While they cannot be read, or apply refuses them, those before
// hold. Keys that stand in the variable itself do not change.
func WatchKeys(text config.Redacted, log *slog.Logger, apply func([]string) error) service.Component {
	return service.Func(func(ctx context.Context) error {
		secret, err := config.NewSecret(string(text), config.Options{})
		if !strings.HasPrefix(string(text), keysFile) || err != nil {
			<-ctx.Done()
			return nil
		}
		last, failed := "", ""
		if keys, err := readKeys(secret); err == nil {
			last = strings.Join(keys, ",")
		}
		tick := time.NewTicker(keysEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			keys, err := readKeys(secret)
			if now := strings.Join(keys, ","); err == nil && now != last {
				if err = apply(keys); err == nil {
					last = now
					log.Info("keys of the API loaded", "file", secret.String(), "keys", len(keys))
				}
			}
			switch {
			case err == nil:
				failed = ""
			case err.Error() != failed:
				failed = err.Error()
				log.Error("keys of the API kept as they were", "error", err)
			}
		}
	})
}
