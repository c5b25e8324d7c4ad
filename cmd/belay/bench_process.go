package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// targetGrace is how long a measured process may take to stop.
const targetGrace = 10 * time.Second

// A process is a belay bench target.
type process struct {
	place
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	kill context.CancelFunc
	log  *os.File
}

// start starts a target and returns once it can be used.
func start(ctx context.Context, dir string, args ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, args[0]+".log"))
	if err != nil {
		return nil, err
	}
	// It outlives ctx by the time that it needs to stop, and not this process.
	alive, kill := context.WithCancel(context.WithoutCancel(ctx))
	p := &process{kill: kill, log: log}
	p.cmd = exec.CommandContext(alive, program, append([]string{"bench", "target"}, args...)...)
	p.cmd.Stderr = log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the program to measure: %w", err)
	}
	if err := p.read(&p.place); err != nil {
		p.stop()
		return nil, fmt.Errorf("start the program to measure: %w: %s", err, lastLine(log.Name()))
	}
	return p, nil
}

// read reads the next line of the process, within a time.
func (p *process) read(into any) error {
	late := time.AfterFunc(targetGrace, p.kill)
	defer late.Stop()
	if !p.out.Scan() {
		return errors.Join(errors.New("it ended, or did not answer"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), into)
}

// usage is what the process has used up.
func (p *process) usage() (u usage, err error) {
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		return u, fmt.Errorf("ask the measured program: %w: %s", err, lastLine(p.log.Name()))
	}
	if err := p.read(&u); err != nil {
		return u, fmt.Errorf("ask the measured program: %w: %s", err, lastLine(p.log.Name()))
	}
	return u, nil
}

// profile writes a CPU profile of the next while to a file.
func (p *process) profile(ctx context.Context, d time.Duration, file string) error {
	return fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.Ops, seconds(d)), file)
}

// seconds is a duration as a profile takes it.
func seconds(d time.Duration) int { return max(int(d.Seconds()), 1) }

// fetch writes what is at the URL to a file.
func fetch(ctx context.Context, url, file string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

// stop ends the process, by force if it does not end in time.
func (p *process) stop() {
	_ = p.in.Close() // that is what tells it
	late := time.AfterFunc(targetGrace, p.kill)
	_ = p.cmd.Wait() // how it ends is of no interest any more
	late.Stop()
	p.kill()
	_ = p.log.Close()
}

// lastLine is the end of a log, for an error.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-500):])
}
