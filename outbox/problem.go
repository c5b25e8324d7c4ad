package outbox

import (
	"errors"
	"net/http"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// explain gives an error of the broker the words that its caller understands.
func explain(err error) error {
	if errors.Is(err, stream.ErrTooLarge) {
		return rest.NewProblem(http.StatusRequestEntityTooLarge, "the notification is too large to be stored")
	}
	return err
}
