package outbox

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// errEcho: a URL does not answer as one whose owner wants webhooks.
var errEcho = errors.New("want a URL that answers GET with the value of its query parameter echo")

// maxEcho bounds the answer; what is expected has 26 bytes.
const maxEcho = 256

// echo asks the owner of a URL whether it wants webhooks, as ASP.NET WebHooks does:
// GET with a random text in the query parameter echo, which must come back. The
// URL's own query is kept. It fails with [errEcho].
func (c *client) echo(ctx context.Context, s *Subscription) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u, err := url.Parse(s.URL)
	if err != nil {
		return fmt.Errorf("%w: %w", errEcho, err)
	}
	token := rand.Text()
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "echo=" + token
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%w: %s", errEcho, detailOf(err))
	}
	r.Header.Set("User-Agent", c.userAgent)
	for name, value := range s.Headers {
		r.Header.Set(name, value)
	}
	response, err := c.transport.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("%w: %s", errEcho, detailOf(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxEcho))
	switch {
	case response.StatusCode < 200 || response.StatusCode > 299:
		return fmt.Errorf("%w: it answered %s", errEcho, strconv.Itoa(response.StatusCode))
	case err != nil:
		return fmt.Errorf("%w: %s", errEcho, detailOf(err))
	case subtle.ConstantTimeCompare([]byte(strings.TrimSpace(string(body))), []byte(token)) == 0:
		return fmt.Errorf("%w: it answered with another text", errEcho)
	}
	return nil
}

// verifyNew asks the owner of a URL that is another than before, where that is the
// outbox's policy. A query parameter noecho says not to.
func (a *api) verifyNew(ctx context.Context, s *Subscription, before string) error {
	if !a.config.VerifyURLs || s.URL == before || noEcho(s.URL) {
		return nil
	}
	if err := a.client.echo(ctx, s); err != nil {
		return unverified(err)
	}
	return nil
}

func noEcho(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	for name := range u.Query() {
		if strings.EqualFold(name, "noecho") {
			return true
		}
	}
	return false
}
