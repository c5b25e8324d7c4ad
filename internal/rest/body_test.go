package rest

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
		{"between two letters", strings.Repeat("e", MaxShown) + "é", true, MaxShown},
		{"within a letter of two bytes", strings.Repeat("e", MaxShown-1) + "é", true, MaxShown - 1},
		{"within a letter of four bytes", strings.Repeat("e", MaxShown-3) + "😀", true, MaxShown - 3},
		{"no text", strings.Repeat("\xff", MaxShown+1), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v Body
			v.SetBody([]byte(c.body))
			if got := v.Text != nil; got != c.text {
				t.Fatalf("shown as text: %t", got)
			}
			if c.text && len(*v.Text) != c.shown {
				t.Errorf("%d bytes shown, want %d", len(*v.Text), c.shown)
			}
			if v.Truncated != (len(c.body) > MaxShown) {
				t.Errorf("truncated: %t", v.Truncated)
			}
		})
	}
}
