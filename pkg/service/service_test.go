package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/pkg/service"
)

// running starts a service on free ports, and stops it when the test ends.
func running(t *testing.T, add func(*service.Service)) (s *service.Service, stop func() error) {
	t.Helper()
	s, err := service.New(service.Config{OpsAddr: "127.0.0.1:0", LogTo: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	add(s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

func get(t *testing.T, s *service.Service, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	r, err := client.Get("http://" + s.Ops.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestOps(t *testing.T) {
	s, _ := running(t, func(s *service.Service) {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "belay_test_total"})
		s.Ops.Registry().MustRegister(c)
		c.Inc()
	})
	for _, test := range []struct {
		name, path string
		status     int
		want       []string
	}{
		{"health", "/healthz", 200, []string{"ok"}},
		{"metrics", "/metrics", 200, []string{"belay_test_total 1", "go_goroutines", "process_open_fds", "go_build_info"}},
		{"profiles", "/debug/pprof/", 200, []string{"goroutine"}},
		{"one profile", "/debug/pprof/goroutine?debug=1", 200, []string{"goroutine profile"}},
		{"anything else", "/", 404, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body := get(t, s, test.path)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			for _, want := range test.want {
				if !strings.Contains(body, want) {
					t.Errorf("%q is missing", want)
				}
			}
		})
	}
}

func TestReady(t *testing.T) {
	s, _ := running(t, func(*service.Service) {})
	release := make(chan struct{})
	defer close(release)
	expect := func(status int, checks map[string]string) {
		t.Helper()
		got, body := get(t, s, "/readyz")
		var answer struct {
			Ready  bool
			Checks map[string]string
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		if got != status || answer.Ready != (status == 200) || !maps.Equal(answer.Checks, checks) {
			t.Errorf("got %d %s, want %d %v", got, body, status, checks)
		}
	}
	expect(200, map[string]string{})
	s.Ops.AddReady("broker", func(context.Context) error { return nil })
	expect(200, map[string]string{"broker": "ok"})
	s.Ops.AddReady("store", func(context.Context) error { return errors.New("the store is full") })
	s.Ops.AddReady("stuck", func(context.Context) error { <-release; return nil })
	expect(503, map[string]string{"broker": "ok", "store": "the store is full", "stuck": "no answer in time"})
	s.Ops.AddReady("store", func(context.Context) error { return nil })
	s.Ops.AddReady("stuck", func(context.Context) error { return nil })
	expect(200, map[string]string{"broker": "ok", "store": "ok", "stuck": "ok"})
	s.Ops.Draining()
	expect(503, map[string]string{"broker": "ok", "store": "ok", "stuck": "ok", "draining": "the program is stopping"})
}

// The ops port says that the program is unready while the components drain.
func TestUnreadyWhileDraining(t *testing.T) {
	told, release := make(chan struct{}), make(chan struct{})
	s, stop := running(t, func(s *service.Service) {
		s.Add("worker", service.Func(func(ctx context.Context) error {
			<-ctx.Done()
			close(told)
			<-release
			return nil
		}))
	})
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	<-told
	if status, body := get(t, s, "/readyz"); status != 503 {
		t.Errorf("while it drains it is %d %s", status, body)
	}
	if status, _ := get(t, s, "/healthz"); status != 200 {
		t.Errorf("while it drains it is not healthy: %d", status)
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestNewProblems(t *testing.T) {
	taken, err := service.NewOps("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name   string
		config service.Config
		want   string
	}{
		{"format", service.Config{LogFormat: "xml"}, `the log format is "xml", want json or text`},
		{"level", service.Config{LogLevel: "loud"}, `the log level is "loud", want debug, info, warn or error`},
		{"grace", service.Config{ShutdownGrace: -1}, "negative"},
		{"port taken", service.Config{OpsAddr: taken.Addr().String()}, "give another BELAY_OPS_ADDR if it is taken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := service.New(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestCloseWithoutRun(t *testing.T) {
	s, err := service.New(service.Config{OpsAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

type exitError struct{ error }

func (exitError) ExitCode() int { return 3 }

func TestExit(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		code   int
		stderr string
	}{
		{"well", nil, 0, ""},
		{"failure", errors.New("no broker"), 1, "belay: no broker\n"},
		{"failure with a code", exitError{errors.New("no such file")}, 3, "belay: no such file\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := service.Exit(&stderr, "belay", func(context.Context) error { return test.err })
			if code != test.code || stderr.String() != test.stderr {
				t.Errorf("got %d %q, want %d %q", code, stderr.String(), test.code, test.stderr)
			}
		})
	}
}

func TestSignals(t *testing.T) {
	code := service.Exit(io.Discard, "belay", func(ctx context.Context) error {
		hangups := service.Hangups(ctx)
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			return err
		}
		<-hangups
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestLogger(t *testing.T) {
	for _, test := range []struct{ name, format, want string }{
		{"json", service.LogJSON, `"msg":"stored","id":"1"}`},
		{"text, without colours where it is no terminal", service.LogText, "INF stored id=1\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			log := service.NewLogger(&b, test.format, slog.LevelInfo)
			log.Debug("hidden")
			log.Info("stored", "id", "1")
			if got := b.String(); !strings.Contains(got, test.want) || strings.Contains(got, "hidden") {
				t.Errorf("got %q", got)
			}
		})
	}
}
