package config_test

import (
	"errors"
	"testing"

	"github.com/belay-hooks/belay/pkg/config"
)

func TestLocatePointsIntoAnExpression(t *testing.T) {
	for name, test := range map[string]struct {
		text, expression string
		offset           int
		line, column     int
		want             string
	}{
		"plain":           {"chains:\n- name: a\n  when: a == 1\n", "a == 1", 5, 3, 14, "a == 1\n         ^"},
		"quoted":          {"chains:\n- name: a\n  when: 'a == 1'\n", "a == 1", 0, 3, 10, "a == 1\n    ^"},
		"block":           {"chains:\n- name: a\n  when: |\n    é &&\n      b\n", "é &&\n  b\n", 8, 5, 7, "  b\n      ^"},
		"with an escape":  {"chains:\n- name: a\n  when: \"a\\tb\"\n", "a\tb", 2, 3, 0, "a\tb\n     \t^"},
		"beyond its end":  {"chains:\n- name: a\n  when: a +\n", "a +", 99, 3, 12, "a +\n       ^"},
		"folded in lines": {"chains:\n- name: a\n  when: >\n    a &&\n    b\n", "a && b\n", 5, 3, 0, "a && b\n         ^"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := config.Parse("belay.yaml", []byte(test.text+"  handlers: [{name: x, log: {}}]\n"), config.Options{})
			err := f.Locate(&config.FieldError{Path: "chains[0].when", Want: "wrong", Mark: &config.Mark{Text: test.expression, Offset: test.offset}})
			var p *config.Problem
			if !errors.As(err, &p) || p.Line != test.line || p.Column != test.column {
				t.Fatalf("got %+v", err)
			}
			if got := p.Err.Error(); got != "chains[0].when: wrong\n    "+test.want {
				t.Errorf("got\n%s", got)
			}
		})
	}
}
