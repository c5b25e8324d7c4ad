package config_test

import (
	"fmt"

	"github.com/belay-hooks/belay/pkg/config"
)

// All problems come at once, each with its line and what would be right.
func ExampleParse() {
	_, err := config.Parse("belay.yaml", []byte(`
sources:
  - receiver: github
    secrets: [s3cret]
chains:
  - name: deploy
    from: [gitlab]
    handlers:
      - {name: forward, http: {url: localhost}}
`), config.Options{})
	fmt.Println(err)
	// Output:
	// belay.yaml:4: sources[0].secrets[0]: a secret stands in the file, want env:NAME or file:/path (inline only with serve --dev)
	// belay.yaml:7: chains[0].from[0] is "gitlab": want a receiver (github) or a source (github/eu) of the sources above
	// belay.yaml:9: chains[0].handlers[0].http.url is "localhost": want an absolute http or https URL
}
