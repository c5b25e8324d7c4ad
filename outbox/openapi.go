package outbox

import (
	_ "embed"
	"net/http"
)

// description says what the API takes and answers, in OpenAPI 3.1.
//
//go:embed openapi.yaml
var description []byte

// describe answers with the description. It needs no key: it holds no secret, and
// tools fetch it without one.
func describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(description)
}
