package worker

import (
	"context"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/handler"
)

func TestSelectChains(t *testing.T) {
	step := []handler.Step{{Name: "do", Handler: handler.Do(func(context.Context, *event.Event) error { return nil })}}
	all := []handler.Chain{{Name: "deploy", Steps: step}, {Name: "billing", Steps: step}, {Name: "audit", Steps: step}}
	for _, test := range []struct {
		name, only, want, err string
	}{
		{name: "all of them without names", want: "deploy, billing, audit"},
		{name: "one", only: "billing", want: "billing"},
		{name: "several, as they are named", only: "audit, deploy", want: "audit, deploy"},
		{name: "one that there is not", only: "deploy,biling", err: `the chain "biling", which there is not: want one or more of deploy, billing, audit`},
		{name: "one twice", only: "deploy,deploy", err: "two chains are named deploy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var names []string
			if test.only != "" {
				names = strings.Split(test.only, ",")
			}
			got, err := selectChains(all, names)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || chainNames(got) != test.want {
				t.Errorf("got %s, %v", chainNames(got), err)
			}
		})
	}
}
