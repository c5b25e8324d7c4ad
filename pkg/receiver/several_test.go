package receiver

import (
	"strings"
	"testing"
)

// A request that carries several events has their one name, or batch.
func TestSeveral(t *testing.T) {
	s, err := formed(tokenForm+`
event: ["{json:events.*.name}", "{json:*.type}", "{xml:a.n.type}", none]
id: ["{json:events.*.id}", "{xml:a.n.id}"]
key: ["{json:events.*.customer}", "{xml:a.n.customer}"]
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	long := `{"events":[{"id":"` + strings.Repeat("a", maxList) + `"},{"id":"b"}]}`
	for name, test := range map[string]struct{ contentType, body, event, id, key string }{
		"one":             {"application/json", `{"events":[{"name":"a","id":1,"customer":"c"}]}`, "x.a", "1", "c"},
		"of one name":     {"application/json", `{"events":[{"name":"a","id":1,"customer":"c"},{"name":"a","id":2,"customer":"c"}]}`, "x.a", "1,2", "c"},
		"of two":          {"application/json", `{"events":[{"name":"a","id":1,"customer":"c"},{"name":"b","id":1,"customer":"d"}]}`, "x.batch", "1", ""},
		"an array":        {"application/json", `[{"type":"a"},{"type":"a"},{}]`, "x.a", "", ""},
		"arrays of names": {"application/json", `{"events":[{"name":["a","a"]},{"name":["b"]}]}`, "x.batch", "", ""},
		"none":            {"application/json", `{"events":[]}`, "x.none", "", ""},
		"no array":        {"application/json", `{"events":{"*":{"name":"a"}}}`, "x.none", "", ""},
		"many ids":        {"application/json", long, "x.none", "sha256:", ""},
		"XML":             {"text/xml", `<a><n><type>t</type><id>1</id></n><n><type>t</type><id>2</id></n></a>`, "x.t", "1,2", ""},
		"XML of two":      {"text/xml", `<a><n><type>t</type><customer>c</customer></n><n><type>u</type></n></a>`, "x.batch", "", "c"},
		"with a mark":     {"application/json", "\ufeff" + `[{"type":"a"}]`, "x.a", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(test.contentType, nil)
			r.Header.Set("X-S", "user:password")
			got, err := s.Receive(r, []byte(test.body), now)
			if err != nil {
				t.Fatal(err)
			}
			id := test.id
			if strings.HasPrefix(got.Event.ID, "sha256:") || id == "" {
				id = got.Event.ID[:min(7, len(got.Event.ID))]
				if test.id != "" && id != test.id {
					t.Errorf("id %s", got.Event.ID)
				}
				id = got.Event.ID
			}
			if got.Event.Type != test.event || got.Event.ID != id || got.Event.Key != test.key {
				t.Errorf("event %s, id %s, key %q", got.Event.Type, got.Event.ID, got.Event.Key)
			}
		})
	}
	if _, err := s.Receive(withToken(newRequest("text/xml", nil)), []byte("<a>"), now); reasonOf(err) != Unreadable {
		t.Errorf("broken XML: %v", err)
	}
}
