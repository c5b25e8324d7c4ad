package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"time"
)

// A process is a program that is killed and started again, also when it has ended
// by itself: while it was gone somebody may have got its port.
type process struct {
	name, path string
	args, env  []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has
	ends  int           // how often it has ended by itself
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run()
}

func (p *process) run() error {
	cmd, ended := exec.Command(p.path, p.args...), make(chan struct{}) //nolint:noctx // it ends by kill
	cmd.Env = p.env
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // it was killed, or its end is counted
		close(ended)
		<-time.After(100 * time.Millisecond)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cmd == cmd {
			p.ends++
			_ = p.run() // what cannot be started accepts nothing: that is seen
		}
	}()
	return nil
}

// kill ends it as the kernel does. Its log is not kept.
func (p *process) kill() {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.cmd = nil
	p.mu.Unlock()
	_ = cmd.Process.Kill() // of one that has ended by itself; it is not missed
	<-ended
}

// command runs a program to its end.
func command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// freeAddr is an address of this machine that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
