// Package test holds what is tested on whole programs, and the fences of the
// house: who may import whom, and what may be called where.
package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/belay-hooks/belay"

var roles = []string{"ingress", "worker", "outbox", "console"}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// list asks the go command about packages of the module.
func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports"}, args...)...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// A production program carries its own role, no broker and nothing of tests.
func TestProductionProgramsCarryNothingElse(t *testing.T) {
	for _, role := range roles {
		t.Run(role, func(t *testing.T) {
			forbidden := []string{
				"github.com/nats-io/nats-server",
				module + "/internal/localnats",
				module + "/internal/testbroker",
				module + "/test",
				"testing",
				"go.uber.org/goleak",
				"pgregory.net/rapid",
				"net/http/httptest",
			}
			for _, other := range roles {
				if other != role {
					forbidden = append(forbidden, module+"/"+other)
				}
			}
			found := list(t, "-deps", "./cmd/"+role)
			if len(found) < 50 {
				t.Fatalf("./cmd/%s has %d packages, want a program", role, len(found))
			}
			for _, p := range found {
				if within(p.ImportPath, forbidden) {
					t.Errorf("cmd/%s links %s", role, p.ImportPath)
				}
			}
		})
	}
}

// The import arrows run one way: cmd, roles, pkg/stream, pkg/event.
func TestImportArrows(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if within(from, []string{"test"}) {
			continue
		}
		all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		for _, to := range p.Imports {
			if within(to, []string{"github.com/nats-io/nats-server"}) && from != "internal/localnats" {
				t.Errorf("%s imports %s: only internal/localnats embeds a broker", from, to)
			}
			if within(to, []string{module + "/internal/localnats", module + "/internal/testbroker"}) && !within(from, []string{"cmd/belay", "internal"}) {
				t.Errorf("%s imports %s: only cmd/belay and tests embed a broker", from, to)
			}
		}
		for _, to := range all {
			if within(to, []string{"github.com/nats-io/nats.go"}) && !within(from, []string{"pkg/stream", "internal"}) {
				t.Errorf("%s imports %s: only pkg/stream speaks to the broker", from, to)
			}
			to, ours := strings.CutPrefix(to, module+"/")
			if !ours {
				continue
			}
			switch {
			case within(from, []string{"pkg"}) && within(to, append([]string{"cmd"}, roles...)):
				t.Errorf("%s imports %s: pkg/ knows no role", from, to)
			case within(from, roles) && within(to, roles) && !within(to, []string{strings.Split(from, "/")[0]}):
				t.Errorf("%s imports %s: roles never import each other", from, to)
			case within(to, []string{"cmd"}) && !within(from, []string{"cmd"}):
				t.Errorf("%s imports %s: nothing imports a program", from, to)
			}
		}
	}
}

// within reports whether the path is one of the roots, or below one.
func within(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// A ban is something that is only done in some places, or nowhere.
type ban struct {
	calls  []string
	where  func(path string) bool // files that it holds for
	reason string
}

var bans = []ban{
	{
		calls: []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.Args", "os.Exit", "signal.Notify", "signal.NotifyContext"},
		where: func(path string) bool {
			return !isTest(path) && !within(path, []string{"cmd", "pkg/service", "internal/program"})
		},
		reason: "only programs and pkg/service see the process, so that the rest can be embedded",
	},
	{
		calls:  []string{"http.DefaultClient", "http.DefaultTransport", "http.Get", "http.Post", "http.PostForm", "http.Head"},
		where:  func(path string) bool { return !isTest(path) },
		reason: "it has no time-out and no address policy",
	},
	{
		calls:  []string{"time.Sleep"},
		where:  func(string) bool { return true },
		reason: "wait for what happens, not for time to pass",
	},
	{
		calls:  []string{"t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "b.Skipf", "b.SkipNow", "testing.Short"},
		where:  isTest,
		reason: "a test that cannot run fails",
	},
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

func TestCallsStayInTheirPlaces(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
		if entry.IsDir() && path != ".." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		files++
		checkFile(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("found %d files, want the module", files)
	}
}

func checkFile(t *testing.T, path string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, filepath.Join("..", path), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	ast.Inspect(file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		on, ok := selector.X.(*ast.Ident)
		if !ok {
			return true
		}
		call := on.Name + "." + selector.Sel.Name
		for _, b := range bans {
			if slices.Contains(b.calls, call) && b.where(path) {
				t.Errorf("%s: %s: %s", set.Position(node.Pos()), call, b.reason)
			}
		}
		return true
	})
}
