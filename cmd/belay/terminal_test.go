package main

import (
	"bytes"
	"fmt"
	"testing"
)

func TestTerminalObeysNobody(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"text":            {"eins\tzwei\nschön …\n", "eins\tzwei\nschön …\n"},
		"an escape":       {"id\x1b[2J\x1b]0;title\x07", "id^[[2J^[]0;title^G"},
		"a return":        {"evil\rgood", "evil^Mgood"},
		"of eight bits":   {"a\u009b2Jb\x7f", "a\ufffd2Jb\ufffd"},
		"no UTF-8":        {"a\x9bb", "a\ufffdb"},
		"a JSON document": {`{"a":"\u001b[2J"}`, `{"a":"\u001b[2J"}`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if n, err := fmt.Fprint(terminal{&out}, test.text); out.String() != test.want || n != len(test.text) || err != nil {
				t.Errorf("%q, %d, %v", out.String(), n, err)
			}
		})
	}
}
