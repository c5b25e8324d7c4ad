//go:build linux && power

package test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/test/load"
)

// What belay serve has answered 2xx is on the disk. The power is cut three times
// at a random moment under load: all that the file system had not written yet is
// gone. What remains is what the next start finds.
func TestPowerCut(t *testing.T) {
	bin := buildPrograms(t)
	t.Run("serve loses nothing", func(t *testing.T) { serveLosesPower(t, bin) })
	// The proof that this cut can lose something: without the flush it does.
	t.Run("without the flush much is lost", func(t *testing.T) { devLosesPower(t, bin) })
}

func serveLosesPower(t *testing.T, bin string) {
	d := newDisk(t)
	p := newPowered(t, bin, d)
	for range 3 {
		p.serve.start()
		p.serve.waitReady()
		p.sendUntil(time.Duration(1000+rand.IntN(2000))*time.Millisecond, p.cut)
		lost, stored := p.compare()
		if lost != 0 {
			t.Errorf("%d webhooks were answered 2xx and are not stored", lost)
		}
		if len(p.accepted) < 100 {
			t.Errorf("only %d webhooks were accepted: that shows nothing", len(p.accepted))
		}
		t.Logf("power cut: so far %d sent, %d answered 2xx, %d stored, %d lost; longest answer %v",
			p.sent, len(p.accepted), stored, lost, p.longest.Round(time.Millisecond))
	}
	// The senders send again what they got no answer to.
	p.serve.start()
	p.serve.waitReady()
	p.resend()
	p.serve.stop()
	if lost, stored := p.compare(); lost != 0 || stored != p.sent || len(p.accepted) != p.sent {
		t.Errorf("in the end %d of %d webhooks are accepted, %d stored, %d lost", len(p.accepted), p.sent, stored, lost)
	}
}

func devLosesPower(t *testing.T, bin string) {
	p := newPowered(t, bin, newDisk(t))
	p.serve.args = append(p.serve.args, "--dev", "--demo-addr", freeAddr(t))
	p.serve.start()
	p.serve.waitReady()
	p.sendUntil(2*time.Second, p.cut)
	lost, stored := p.compare()
	if lost == 0 {
		t.Errorf("of %d webhooks answered 2xx nothing was lost without a flush: this cut cuts nothing", len(p.accepted))
	}
	t.Logf("power cut without the flush: %d sent, %d answered 2xx, %d stored, %d lost", p.sent, len(p.accepted), stored, lost)
}

// powered is a belay serve whose data lies on a disk that can lose its power.
type powered struct {
	t     *testing.T
	disk  *disk
	serve *program
	addr  string // of its ingress

	mu       sync.Mutex
	sent     int
	accepted map[uint64]bool
	longest  time.Duration
}

func newPowered(t *testing.T, bin string, d *disk) *powered {
	t.Helper()
	config := filepath.Join(t.TempDir(), "belay.yaml")
	if err := os.WriteFile(config, []byte(load.Sources), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &powered{t: t, disk: d, addr: freeAddr(t), accepted: make(map[uint64]bool)}
	p.serve = &program{
		t: t, name: "belay serve", path: filepath.Join(bin, "belay"), ops: freeAddr(t),
		args: []string{"serve", "--roles", "ingress", "--config", config, "--data-dir", filepath.Join(d.dir, "data")},
	}
	p.serve.env = []string{"BELAY_OPS_ADDR=" + p.serve.ops, "BELAY_INGRESS_ADDR=" + p.addr, load.Env}
	t.Cleanup(func() {
		if p.serve.cmd != nil {
			p.serve.kill()
		}
	})
	return p
}

// sendUntil sends webhooks from many senders, cuts the power after a while, and
// returns when no sender gets an answer any more.
func (p *powered) sendUntil(after time.Duration, cut func()) {
	p.t.Helper()
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			s := p.sender()
			defer s.Close()
			for p.note(s.Send(p.t.Context(), p.next())) {
			}
		})
	}
	<-time.After(after)
	cut()
	group.Wait()
}

// resend sends again, until it is accepted, what was not.
func (p *powered) resend() {
	p.t.Helper()
	s := p.sender()
	defer s.Close()
	for n := uint64(1); n <= uint64(p.sent); n++ {
		if !p.accepted[n] {
			waitFor(p.t, load.ID(n)+" to be accepted", func() bool {
				a := s.Send(p.t.Context(), n)
				p.note(a)
				return a.Accepted()
			})
		}
	}
}

func (p *powered) sender() *load.Sender {
	s, err := load.NewSender(p.addr, "/webhooks/github", 10*time.Second)
	if err != nil {
		p.t.Error(err)
	}
	return s
}

// next is the number of the next webhook.
func (p *powered) next() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	return uint64(p.sent)
}

// note remembers what came of a webhook, and reports whether anybody answered.
func (p *powered) note(a load.Answer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Accepted() {
		p.accepted[a.Number] = true
		p.longest = max(p.longest, a.Took)
	}
	return a.Status != 0
}

// cut cuts the power. First the process stands still: what it answers is what it
// knew to be on the disk, not what a dying file system told it.
func (p *powered) cut() {
	p.t.Helper()
	if err := p.serve.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	waitFor(p.t, "the process to stand still", func() bool { return standsStill(p.t, p.serve.cmd.Process.Pid) })
	p.disk.cut()
	p.serve.kill()
	p.disk.mountAgain()
}

// standsStill reports whether no thread of the process runs: each is stopped, or
// inside a system call that it will not return from
// (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
func standsStill(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("look up the threads of %d: %v, %v", pid, threads, err)
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			t.Fatal(err)
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(state, "T") && !strings.HasPrefix(state, "D") {
			return false
		}
	}
	return true
}

// compare reads what is on the disk. It tells how many webhooks were answered 2xx
// and are not there, and how many are there; nothing may be there twice.
func (p *powered) compare() (lost, stored int) {
	p.t.Helper()
	server, err := localnats.Start(p.t.Context(), localnats.Config{
		Dir: filepath.Join(p.disk.dir, "data"), Host: "127.0.0.1", Port: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer server.Stop()
	count, err := load.Stored(p.t.Context(), server.ClientURL(), 1)
	if err != nil {
		p.t.Fatal(err)
	}
	for n := range p.accepted {
		if count[n] == 0 {
			lost++
		}
	}
	for n, times := range count {
		if times > 1 {
			p.t.Errorf("%s is stored %d times", load.ID(n), times)
		}
	}
	return lost, len(count)
}

// A disk is an ext4 file system of its own, in a file.
type disk struct {
	t          *testing.T
	image, dir string
}

// diskSize is that of the image in bytes, which is sparse: above what serve keeps
// free on the disk of its data.
const diskSize = 2 << 30

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk.img"), dir: t.TempDir()}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(diskSize); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d.do("mkfs.ext4", "-q", "-F", d.image)
	d.do("mount", "-o", "loop", d.image, d.dir)
	t.Cleanup(func() { d.do("umount", d.dir) })
	return d
}

// do runs a command of the system's. It needs root, and for mount a loop device.
func (d *disk) do(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// What ends an ext4 at once, without writing data or journal
// (EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH,
// https://github.com/torvalds/linux/blob/master/include/uapi/linux/ext4.h).
const (
	ioctlShutdown = 0x8004587d // _IOR('X', 125, __u32)
	noLogFlush    = 2
)

// cut ends the file system at this moment: nothing more reaches the image.
func (d *disk) cut() {
	d.t.Helper()
	dir, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), ioctlShutdown, noLogFlush); err != nil {
		d.t.Fatalf("shut the file system down: %v", err)
	}
}

// mountAgain drops what the kernel still holds of the file system, and mounts
// the image as it is found after the power is back: its journal is replayed.
func (d *disk) mountAgain() {
	d.t.Helper()
	d.do("umount", d.dir)
	d.do("mount", "-o", "loop", d.image, d.dir)
}
