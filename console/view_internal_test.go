package console

import (
	"strings"
	"testing"
)

func TestTextThatIsCutStaysText(t *testing.T) {
	for _, c := range []struct {
		name, body string
		text       bool
		shown      int
	}{
		{"short", "é", true, 2},
		{"between two letters", strings.Repeat("e", maxShown) + "é", true, maxShown},
		{"within a letter of two bytes", strings.Repeat("e", maxShown-1) + "é", true, maxShown - 1},
		{"within a letter of four bytes", strings.Repeat("e", maxShown-3) + "😀", true, maxShown - 3},
		{"no text", strings.Repeat("\xff", maxShown+1), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v bodyView
			v.setBody([]byte(c.body))
			if got := v.Body != nil; got != c.text {
				t.Fatalf("shown as text: %t", got)
			}
			if c.text && len(*v.Body) != c.shown {
				t.Errorf("%d bytes shown, want %d", len(*v.Body), c.shown)
			}
			if v.Truncated != (len(c.body) > maxShown) {
				t.Errorf("truncated: %t", v.Truncated)
			}
		})
	}
}
