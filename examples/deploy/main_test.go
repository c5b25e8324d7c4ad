package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/worker"
)

func TestDeploy(t *testing.T) {
	dir := t.TempDir()
	script, log := filepath.Join(dir, "deploy.sh"), filepath.Join(dir, "log")
	text := "#!/bin/sh\n[ \"$1\" = octo/broken ] && { echo no disk; exit 1; }\necho \"$1 $2\" >> " + log + "\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil { //nolint:gosec // a script is run
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ body, outcome string }{
		"main":         {`{"ref":"refs/heads/main","after":"6113728","repository":{"full_name":"octo/hello"}}`, "done"},
		"other branch": {`{"ref":"refs/heads/next","after":"6113728","repository":{"full_name":"octo/hello"}}`, "passed"},
		"deleted":      {`{"ref":"refs/heads/main","deleted":true,"repository":{"full_name":"octo/hello"}}`, "passed"},
		"broken":       {`{"ref":"refs/heads/main","after":"6113728","repository":{"full_name":"octo/broken"}}`, "again"},
		"no push":      {`[]`, "dead"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &event.Event{ID: "1", Receiver: "github", Type: "github.push", Body: []byte(test.body)}
			got, err := worker.Try(t.Context(), chain(script), e)
			if err != nil || got.Outcome != test.outcome || name == "broken" && !strings.Contains(got.Err.Error(), "no disk") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	if got, err := os.ReadFile(log); err != nil || string(got) != "octo/hello 6113728\n" {
		t.Errorf("deployed %q, %v", got, err)
	}
}
