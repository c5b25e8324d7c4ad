package receiver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/receiver"
)

// fixed is a secret that does not change.
type fixed string

func (f fixed) Value() (string, error) { return string(f), nil }

func Example() {
	source, err := receiver.NewSource(receiver.SourceConfig{
		Receiver: "github",
		Secrets:  []receiver.Secret{fixed("It's a Secret to Everybody")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	body := []byte(`{"action":"opened","repository":{"full_name":"octo/hello"}}`)
	r := httptest.NewRequest(http.MethodPost, "/webhooks/github", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "issues")
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	if _, err := source.Sign(r, body, time.Now()); err != nil { // what GitHub does
		fmt.Println(err)
		return
	}

	received, err := source.Receive(r, body, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(received.Event.ID)
	fmt.Println(received.Event.Type, received.Event.Key)

	_, err = source.Receive(r, []byte(`{"action":"deleted"}`), time.Now())
	fmt.Println(err)
	// Output:
	// 72d3162e-cc78-11e3-81ab-4c9367dc0958
	// github.issues.opened octo/hello
	// signature_wrong: no signature is that of a configured secret
}

func ExampleMiddleware() {
	source, err := receiver.NewSource(receiver.SourceConfig{
		Receiver: "stripe",
		Secrets:  []receiver.Secret{fixed("whsec_from_the_dashboard")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	paid := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "genuine") })

	w := httptest.NewRecorder()
	receiver.Middleware(source, paid).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/stripe", strings.NewReader(`{}`)))
	fmt.Println(w.Code)
	// Output: 401
}
