package receiver

import (
	"net/http"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/belay-hooks/belay/pkg/event"
)

const (
	// defaultMaxBody is the greatest body in bytes of a receiver that says nothing
	// else. Webhooks are small: the Standard Webhooks advice is to stay below 20 kB.
	defaultMaxBody = 1 << 20
	// unknownBudget is for senders of whom nobody knows how long they wait.
	unknownBudget = 5 * time.Second
)

// Source is a receiver with its secrets: github/default, stripe/eu. It is safe
// for use by several goroutines.
type Source struct {
	receiver    *Receiver
	id          string
	name        string              // receiver and id: github/default
	uri         string              // as a CloudEvents source: /github/default
	keep        []string            // canonical names of the headers to keep
	secrets     []Secret            // none where the receiver's keys are fetched
	questions   *semaphore.Weighted // that are under way to the provider
	fetcher     *Fetcher            // nil where nothing is fetched
	signatures  []*signature
	clock       *clock // nil: the sender signs no time
	document    choice
	encoded     bool     // the document is written in base64
	items       *part    // where the items are that are signed one by one; nil: all is signed as one
	elements    *xmlTree // of an XML document, that templates ask for; nil: none
	members     []string // the members of the document that templates ask for
	readsJSON   bool     // a template asks for {json:…}
	signsJSON   bool     // a signature does
	signsValues bool     // the content of a signature does: values are signed, and not the bytes that they stand in
	delivery    choice
	event       choice
	key         choice
	handshakes  []handshake
	methods     []string // of events and handshakes
	unstored    []unstored
	answer      answer
	refused     answer
	needsURL    bool
	maxBody     int64
	maxHeader   int64
	https       bool
	rate        Rate
	asks        asks
	timeout     time.Duration // zero: not known
	single      []string      // headers that may stand in a request once at most
}

// Name is receiver and id: github/default.
func (s *Source) Name() string { return s.name }

// ID tells the source from others of its receiver: default.
func (s *Source) ID() string { return s.id }

// Receiver is the receiver that the source belongs to.
func (s *Source) Receiver() *Receiver { return s.receiver }

// MaxBody is the greatest body in bytes that the source accepts.
func (s *Source) MaxBody() int64 { return s.maxBody }

// MaxHeader is the greatest size in bytes of the headers of a request that the
// source accepts: names and values. Zero: the server's.
func (s *Source) MaxHeader() int64 { return s.maxHeader }

// RequiresHTTPS reports whether what was sent in the clear is refused: as the
// configuration says, else where the sender sends a secret as it is. Only the
// server that the request came to, and the proxies before it, know that it was:
// the check is the caller's.
func (s *Source) RequiresHTTPS() bool { return s.https }

// Rate is how many webhooks are accepted, which is the caller's to check. Zero:
// any number.
func (s *Source) Rate() Rate { return s.rate }

// Asks is the chain that is asked to answer the sender of an event, which is the
// caller's to do. Empty: the sender gets the receiver's success answer.
func (s *Source) Asks(e *event.Event) string {
	takes := func(p event.Pattern) bool { return p.Match(e.Name()) }
	if len(s.asks.events) > 0 && !slices.ContainsFunc(s.asks.events, takes) {
		return ""
	}
	return s.asks.chain
}

// NeedsURL reports whether the source looks at the URL that the sender called.
// Behind a proxy only the caller knows it, who then passes [Source.Receive] a
// request with that URL's scheme and host in its URL and Host.
func (s *Source) NeedsURL() bool { return s.needsURL }

// Methods are the HTTP methods that the provider uses, for events and handshakes.
func (s *Source) Methods() []string { return s.methods }

// Budget is how long an answer may take: the time-out of the sender, where it is
// known, less a fifth or a second, whichever is less, for the way; else 5 s. A
// second is a handshake and an answer around the globe, and the longest election
// of a broker's leader, 9 s, fits into what GitHub's 10 s leave.
func (s *Source) Budget() time.Duration {
	if s.timeout == 0 {
		return unknownBudget
	}
	return s.timeout - min(s.timeout/5, time.Second)
}

// AcceptsType reports whether the provider sends bodies of this content type.
// What has no body, as handshakes and a GET, has none.
func (s *Source) AcceptsType(contentType string) bool {
	if len(s.receiver.ContentTypes) == 0 || contentType == "" && (len(s.handshakes) > 0 || slices.Contains(s.methods, http.MethodGet)) {
		return true
	}
	media := mediaType(contentType)
	return slices.ContainsFunc(s.receiver.ContentTypes, func(known string) bool {
		ok, err := path.Match(known, media)
		return err == nil && ok
	})
}
