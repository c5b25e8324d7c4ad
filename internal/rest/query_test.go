package rest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/belay-hooks/belay/internal/rest"
)

// A parameter that cannot be read, or stands there twice, is refused: a filter that
// was left out without a word would select all.
func TestQuery(t *testing.T) {
	for name, test := range map[string]struct {
		query, want string
		ok          bool
	}{
		"none":            {"", "", true},
		"one":             {"when=a%20b", "a b", true},
		"with a plus":     {"when=a+b", "a b", true},
		"empty":           {"when=", "", true},
		"another":         {"wen=a", "", false},
		"a broken escape": {"when=100%", "", false},
		"a semicolon":     {"when=a;b", "", false},
		"of another":      {"when=a&x=%zz", "a", false},
		"twice":           {"when=a&when=b", "a", false},
	} {
		t.Run(name, func(t *testing.T) {
			q := rest.NewQuery(&http.Request{URL: &url.URL{RawQuery: test.query}})
			got := q.Text("when")
			if err := q.Err(); got != test.want || (err == nil) != test.ok {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
