package outbox

import "github.com/belay-hooks/belay/internal/rest"

// fields are those of a request's JSON object, and what the outbox reads of them.
type fields struct{ *rest.Fields }

func readFields(body []byte) (fields, error) {
	f, err := rest.ReadFields(body)
	return fields{f}, err
}
