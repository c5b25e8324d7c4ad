package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/belay-hooks/belay/console"
	"github.com/belay-hooks/belay/internal/standing"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a running console, and who calls it.
type desk struct {
	t      testing.TB
	broker *stream.Broker
	url    string
	key    string
	client *http.Client
	stop   func()
}

func newDesk(t testing.TB, b *stream.Broker, keys ...string) *desk {
	t.Helper()
	s, err := console.New(console.Config{Addr: "127.0.0.1:0", Keys: keys}, b, testbroker.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	d := &desk{t: t, broker: b, url: "http://" + s.Addr().String(), client: &http.Client{Transport: &http.Transport{}}}
	if len(keys) > 0 {
		_, d.key, _ = strings.Cut(keys[0], "=")
	}
	d.stop = sync.OnceFunc(func() { d.client.CloseIdleConnections(); cancel(); <-ended })
	t.Cleanup(d.stop)
	return d
}

// do makes a request and reads its JSON answer into a map.
func (d *desk) do(method, path, body string) (int, map[string]any) {
	d.t.Helper()
	r, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if d.key != "" {
		r.Header.Set("Authorization", "Bearer "+d.key)
	}
	response, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	var answer map[string]any
	if len(data) > 0 && strings.Contains(response.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(data, &answer); err != nil {
			d.t.Fatalf("%s: %v", data, err)
		}
	}
	return response.StatusCode, answer
}

// want is do for a request that must be answered with this status.
func (d *desk) want(status int, method, path, body string) map[string]any {
	d.t.Helper()
	got, answer := d.do(method, path, body)
	if got != status {
		d.t.Fatalf("%s %s: %d %v, want %d", method, path, got, answer, status)
	}
	return answer
}

// bury stores a dead letter, as a worker does.
func bury(t testing.TB, b *stream.Broker, chain string, seq uint64, id, kind, reason string) {
	t.Helper()
	e := &event.Event{
		ID: id, Source: "/github/default", Type: "github." + kind, Receiver: "github", SourceID: "default", Time: time.Now(),
		Header: http.Header{"X-Github-Event": {kind}}, Body: []byte(`{"id":"` + id + `"}`),
	}
	header, data := e.Encode()
	l := standing.Letter{
		LetterID: stream.LetterID{Chain: chain, Place: stream.Place{Seq: seq}}, Handler: "h", Order: 1, Reason: reason, Whole: true, Attempts: 2,
		Failures: []standing.Failure{{Handler: "h", Attempt: 1, Time: time.Now(), Error: "first"}, {Handler: "h", Attempt: 2, Time: time.Now(), Error: "last of " + id}},
	}
	if err := l.Describe(header, len(data)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), stream.Message{Subject: stream.DeadEvent(l.LetterID), Header: header, Data: data}); err != nil {
		t.Fatal(err)
	}
}

func ids(answer map[string]any) (list []string) {
	letters, _ := answer["deadletters"].([]any)
	for _, l := range letters {
		e, _ := l.(map[string]any)["event"].(map[string]any)
		list = append(list, fmt.Sprint(e["id"]))
	}
	return list
}

func TestDeadLettersAreListed(t *testing.T) {
	b := testbroker.New(t)
	for i := range 10 {
		chain, kind, reason := "orders", "push", "attempts_exhausted"
		if i%2 == 1 {
			chain = "mails"
		}
		if i%5 == 0 {
			kind, reason = "pull_request.opened", "too_old"
		}
		bury(t, b, chain, uint64(i+1), fmt.Sprint("e", i), kind, reason)
	}
	d := newDesk(t, b, "ann=secret-of-ann")
	for name, c := range map[string]struct{ query, want string }{
		"newest first":   {"", "e9 e8 e7 e6 e5 e4 e3 e2 e1 e0"},
		"oldest first":   {"order=oldest", "e0 e1 e2 e3 e4 e5 e6 e7 e8 e9"},
		"of a chain":     {"chain=mails", "e9 e7 e5 e3 e1"},
		"of a type":      {"type=pull_request.*", "e5 e0"},
		"a whole type":   {"type=github.push&chain=mails", "e9 e7 e3 e1"},
		"of a reason":    {"reason=too_old&order=oldest", "e0 e5"},
		"of a source":    {"source=github/default&limit=2", "e9 e8"},
		"of no source":   {"source=stripe", ""},
		"of tomorrow":    {"from=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)), ""},
		"until now":      {"until=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)) + "&limit=1", "e9"},
		"none is closed": {"state=closed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(ids(d.want(200, "GET", "/v1/deadletters?"+c.query, "")), " "); got != c.want {
				t.Errorf("listed %s, want %s", got, c.want)
			}
		})
	}
	for _, order := range []string{"newest", "oldest"} {
		var all []string
		for cursor, page := "", 0; page == 0 || cursor != ""; page++ {
			answer := d.want(200, "GET", "/v1/deadletters?limit=3&order="+order+"&cursor="+cursor, "")
			all = append(all, ids(answer)...)
			cursor, _ = answer["next"].(string)
		}
		if len(all) != 10 || all[0] == all[1] {
			t.Errorf("pages of the %s: %q", order, all)
		}
	}
	one := d.want(200, "GET", "/v1/deadletters/mails.0.2.0.0", "")
	if one["body"] != `{"id":"e1"}` || one["error"] != "last of e1" || len(one["failures"].([]any)) != 2 || one["headers"] == nil {
		t.Errorf("shown: %v", one)
	}
}

func TestWhoMayCall(t *testing.T) {
	b := testbroker.New(t)
	d := newDesk(t, b, "ann=secret-of-ann")
	d.key = "guess"
	if got := d.want(401, "GET", "/v1/deadletters", ""); got["detail"] != "the API key is not known" {
		t.Errorf("%v", got)
	}
	local := newDesk(t, b)
	local.want(200, "GET", "/v1/deadletters", "")
	r, _ := http.NewRequest("GET", local.url+"/v1/deadletters", nil)
	r.Host = "evil.example"
	response, err := local.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 403 {
		t.Errorf("as evil.example: %d", response.StatusCode)
	}
	r, _ = http.NewRequest("POST", local.url+"/v1/deadletters/c.0.1.0.0/discard", nil)
	r.Header.Set("Origin", "https://evil.example")
	if response, err = local.client.Do(r); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 403 {
		t.Errorf("from a page of evil.example: %d", response.StatusCode)
	}
	if _, err := console.New(console.Config{Addr: "127.0.0.1:0", Keys: []string{"a b=c"}}, b, testbroker.Logger(t)); err == nil {
		t.Error("a bad key is taken")
	}
}

func TestBadRequests(t *testing.T) {
	d := newDesk(t, testbroker.New(t))
	for name, c := range map[string]struct {
		status             int
		method, path, body string
		want               string
	}{
		"unknown parameter":   {422, "GET", "/v1/deadletters?chian=x", "", "chian"},
		"no query":            {422, "GET", "/v1/deadletters?chain=%zz", "", "cannot be read"},
		"two of one":          {422, "GET", "/v1/deadletters?chain=a&chain=b", "", "chain"},
		"bad time":            {422, "GET", "/v1/deadletters?from=today", "", "from"},
		"bad pattern":         {422, "GET", "/v1/deadletters?type=a*", "", "type"},
		"bad cursor":          {422, "GET", "/v1/deadletters?cursor=%21", "", "cursor"},
		"bad page":            {422, "GET", "/v1/deadletters?limit=0", "", "limit"},
		"no such letter":      {404, "GET", "/v1/deadletters/c.0.1.0.0", "", "dead letter"},
		"no id":               {404, "GET", "/v1/deadletters/c", "", "dead letter"},
		"redrive of none":     {404, "POST", "/v1/deadletters/c.0.1.0.0/redrive", "", "dead letter"},
		"redrive from middle": {422, "POST", "/v1/deadletters/c.0.1.0.0/redrive", `{"at":"middle"}`, "at"},
		"no kind":             {422, "POST", "/v1/jobs", `{}`, "kind"},
		"unknown field":       {422, "POST", "/v1/jobs", `{"kind":"discard","filter":{"chian":"x"}}`, "chian"},
		"start of all":        {422, "POST", "/v1/jobs", `{"kind":"redrive","at":"start"}`, "filter.chain"},
		"bad rate":            {422, "POST", "/v1/jobs", `{"kind":"discard","rate":0}`, "rate"},
		"no such job":         {404, "POST", "/v1/jobs/x/cancel", "", "job"},
		"no such method":      {405, "DELETE", "/v1/jobs", "", "GET, POST"},
		"no such path":        {404, "GET", "/v1/nothing", "", "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := d.want(c.status, c.method, c.path, c.body)
			if text := fmt.Sprint(answer); !strings.Contains(text, c.want) {
				t.Errorf("%s does not say %s", text, c.want)
			}
		})
	}
}

func (d *desk) waitJob(id, state string) map[string]any {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		j := d.want(200, "GET", "/v1/jobs/"+id, "")
		if j["state"] == state {
			return j
		}
		select {
		case <-ctx.Done():
			d.t.Fatalf("waited in vain for %s: %v", state, j)
		case <-tick.C:
		}
	}
}

func TestJobsGoOnWithAnotherConsole(t *testing.T) {
	b := testbroker.New(t)
	const letters = 300
	for i := range letters {
		bury(t, b, "c", uint64(i+1), fmt.Sprint("e", i), "push", "attempts_exhausted")
	}
	d := newDesk(t, b)
	if got := d.want(200, "POST", "/v1/jobs", `{"kind":"redrive","dry_run":true}`); got["total"] != 300.0 {
		t.Errorf("dry run: %v", got)
	}
	j := d.want(201, "POST", "/v1/jobs", `{"kind":"redrive","filter":{"chain":"c","type":"push"},"rate":50,"why":"mended"}`)
	id := j["id"].(string)
	d.want(200, "POST", "/v1/jobs/"+id+"/pause", "")
	d.waitJob(id, "paused")
	d.want(200, "POST", "/v1/jobs/"+id+"/resume", "")
	d.stop()
	d = newDesk(t, b)
	j = d.waitJob(id, "done")
	if j["skipped"] != nil {
		t.Errorf("done: %v", j)
	}
	if n := len(ids(d.want(200, "GET", "/v1/deadletters?limit=500", ""))); n != 0 {
		t.Errorf("%d letters are still open", n)
	}
	parked, err := b.Subjects(t.Context(), stream.Retry, stream.RetryDueAll("c"))
	if err != nil || len(parked) != letters {
		t.Errorf("%d events came back, %v", len(parked), err)
	}
	for subject, n := range parked {
		if n != 1 {
			t.Errorf("%s came back %d times", subject, n)
		}
	}
	closed := d.want(200, "GET", "/v1/deadletters?state=closed&limit=1", "")["deadletters"].([]any)[0].(map[string]any)
	if c := closed["closed"].(map[string]any); closed["state"] != "redriven" || c["job"] != id || c["why"] != "mended" || c["by"] != "local" {
		t.Errorf("the record: %v", closed)
	}
	if got := d.want(409, "POST", "/v1/jobs/"+id+"/cancel", ""); !strings.Contains(fmt.Sprint(got["detail"]), "done") {
		t.Errorf("%v", got)
	}
}
