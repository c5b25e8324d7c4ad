package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

type newCmd struct {
	Worker  newWorkerCmd  `cmd:"" help:"Write a Go project with a worker of your own: chains in code, a test, a Dockerfile."`
	Secrets newSecretsCmd `cmd:"" help:"Print the Secrets that a Kubernetes cluster needs: keys of the broker's users, TLS, API keys."`
}

type newWorkerCmd struct {
	Dir    string `arg:"" optional:"" default:"." help:"The directory; it is made where it is missing."`
	Module string `env:"-" help:"The module's path. Default: example.com/ and the directory's name."`
}

// Help shows how it is used.
func (*newWorkerCmd) Help() string {
	return `It overwrites nothing:

  belay new worker shop --module github.com/acme/shop
  cd shop && go mod tidy && go test ./...`
}

// workerProject is what a new project consists of. The files have an ending of their
// own, or they would be part of this module.
//
//go:embed new/worker
var workerProject embed.FS

const templateEnding = ".tmpl"

// project is what the files of a new project are filled with.
type project struct {
	Module string
	Name   string
	// Version of Belay that it requires; empty for the newest, which go mod tidy finds.
	Version string
}

var (
	modulePath     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9_][A-Za-z0-9._~-]*)*$`)
	releaseVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
)

// Run writes the project.
func (c *newWorkerCmd) Run(_ context.Context, s streams) error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	p := project{Module: c.Module}
	if p.Module == "" {
		p.Module = "example.com/" + strings.ToLower(filepath.Base(dir))
	}
	if !modulePath.MatchString(p.Module) {
		return &exitError{fmt.Errorf("%q is no path of a module, want one such as --module github.com/acme/shop", p.Module), exitUsage}
	}
	p.Name = path.Base(p.Module)
	if v := readBuild().Version; releaseVersion.MatchString(v) {
		p.Version = v
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	if err := write(dir, files); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "a worker is in %s; next:\n\n  cd %s\n  go mod tidy\n  go test ./...\n", c.Dir, c.Dir)
	return nil
}

// files are the project's, by name.
func (p project) files() (map[string]string, error) {
	all, err := template.ParseFS(workerProject, "new/worker/*"+templateEnding)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, t := range all.Templates() {
		var text strings.Builder
		if err := t.Execute(&text, p); err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(t.Name(), templateEnding)
		if name == "gitignore" {
			name = ".gitignore"
		}
		files[name] = text.String()
	}
	return files, nil
}

// write writes the files, or none where one of them is there already.
func write(dir string, files map[string]string) error {
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s is there already, and nothing is overwritten: choose another directory", filepath.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a project that others may read
		return err
	}
	for name, text := range files {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
