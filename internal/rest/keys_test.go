package rest

import (
	"strings"
	"testing"
)

func TestParseKeys(t *testing.T) {
	cases := []struct {
		name  string
		texts []string
		key   string
		want  string // tenant; "" for unknown
		fails bool
	}{
		{"bare", []string{"k1"}, "k1", "default", false},
		{"tenant", []string{"k1", " acme=k2 "}, "k2", "acme", false},
		{"another's", []string{"acme=k2"}, "acme=k2", "", false},
		{"prefix of a key", []string{"k12"}, "k1", "", false},
		{"empty entries", []string{"", " "}, "", "", false},
		{"key with =", []string{"acme=a=b=="}, "a=b==", "acme", false},
		{"padded bare key", []string{"abcd=="}, "", "", true},
		{"empty key", []string{"acme="}, "", "", true},
		{"bad tenant", []string{"a.b=key"}, "", "", true},
		{"empty tenant", []string{"=key"}, "", "", true},
		{"control character", []string{"a\nb"}, "", "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			k, err := ParseKeys(c.texts, "default")
			if c.fails != (err != nil) {
				t.Fatalf("err = %v, want failure = %v", err, c.fails)
			}
			if got, _ := k.Owner(c.key); got != c.want {
				t.Errorf("tenant = %q, want %q", got, c.want)
			}
		})
	}
	if _, err := ParseKeys([]string{"ok", "a.b=very-secret"}, "default"); err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("the error shows the key, or there is none: %v", err)
	}
}
