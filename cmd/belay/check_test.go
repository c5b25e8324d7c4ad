package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// belay runs a command line in this process.
func belay(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(t.Context(), args, streams{out: &out, err: &errs})
	return out.String(), errs.String(), err
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCheck(t *testing.T) {
	for _, name := range []string{"GITHUB_WEBHOOK_SECRET", "STRIPE_NEW", "STRIPE_OLD"} {
		t.Setenv(name, "whsec_s3cret")
	}
	for _, test := range []struct {
		name   string
		args   []string
		golden string
		valid  bool
	}{
		{"valid", []string{"testdata/good.yaml"}, "good.txt", true},
		{"valid, as JSON", []string{"testdata/good.yaml", "--json"}, "good.json", true},
		{"what the roles and the environment know", []string{"testdata/bad.yaml"}, "bad.txt", false},
		{"without secrets", []string{"testdata/bad.yaml", "--no-secrets"}, "bad-no-secrets.txt", false},
		{"shape", []string{"testdata/worse.yaml"}, "worse.txt", false},
		{"shape, as JSON", []string{"testdata/worse.yaml", "--json"}, "worse.json", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, err := belay(t, append([]string{"check"}, test.args...)...)
			if (err == nil) != test.valid {
				t.Errorf("it ended with %v", err)
			}
			got := stdout + stderr
			if err != nil {
				got += "belay: " + err.Error() + "\n"
			}
			golden(t, test.golden, got)
		})
	}
}

func TestCheckTakesTheFileOfTheEnvironment(t *testing.T) {
	t.Setenv("BELAY_CONFIG", "testdata/good.yaml")
	if _, stderr, err := belay(t, "check", "--no-secrets"); err != nil {
		t.Errorf("%v %s", err, stderr)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown verb", []string{"sevre"}, exitUsage, `unexpected argument sevre, did you mean "serve"? (see belay --help)`},
		{"unknown flag", []string{"check", "--jsno"}, exitUsage, `unknown flag --jsno, did you mean "--json"? (see belay check --help)`},
		{"missing argument", []string{"send"}, exitUsage, "as which provider? belay send github, or one of belay send --list"},
		{"missing argument further down", []string{"deadletters", "show"}, exitUsage, `expected "<id>" (see belay deadletters show --help)`},
		{"dry run of single ones", []string{"deadletters", "redrive", "a.0.1.0.0", "--dry-run"}, exitUsage, ""},
		{"address without a scheme", []string{"send", "github", "push", "--url", "127.0.0.1:8080"}, exitUsage, ""},
		{"unknown receiver", []string{"send", "gitbub", "push"}, exitUsage, ""},
		{"unknown sample", []string{"send", "github", "pushed"}, exitUsage, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := belay(t, test.args...)
			var exit *exitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.code {
				t.Fatalf("got %v", err)
			}
			if test.want != "" && err.Error() != test.want {
				t.Errorf("got %s, want %s", err, test.want)
			}
		})
	}
}

func TestHelpOfEveryVerb(t *testing.T) {
	for _, verb := range []string{"", "serve", "send", "check", "verify", "schema", "migrate", "version"} {
		args := []string{verb, "--help"}
		if verb == "" {
			args = nil
		}
		stdout, _, err := belay(t, args...)
		if err != nil || len(stdout) < 100 {
			t.Errorf("%q: %v %s", verb, err, stdout)
		}
	}
}
