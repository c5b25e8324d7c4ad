//go:build linux && power

package test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk without room is refused at the door, seen from outside, and over as soon
// as there is room again. What was accepted before stays.
func TestDiskFull(t *testing.T) {
	p := newPowered(t, buildPrograms(t), newDisk(t))
	p.serve.start()
	p.serve.waitReady()
	s := p.sender()
	defer s.Close()
	send := func() int {
		a := s.Send(t.Context(), p.next())
		p.note(a)
		return a.Status
	}
	if status := send(); status != http.StatusAccepted {
		t.Fatalf("with room: answered %d", status)
	}

	filler := filepath.Join(p.disk.dir, "filler")
	p.disk.fill(filler, 100<<20)
	waitFor(t, "a webhook to be refused", func() bool { return send() == http.StatusServiceUnavailable })
	waitFor(t, "serve to be unready", func() bool { send(); return !p.serve.isReady() })

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a webhook to be accepted", func() bool { return send() == http.StatusAccepted })
	waitFor(t, "serve to be ready", p.serve.isReady)
	p.serve.stop()
	if lost, stored := p.compare(); lost != 0 || stored != len(p.accepted) {
		t.Errorf("%d webhooks were accepted: %d stored, %d lost", len(p.accepted), stored, lost)
	}
}

// fill writes a file that leaves so many bytes free.
func (d *disk) fill(name string, leave uint64) {
	d.t.Helper()
	var free unix.Statfs_t
	if err := unix.Statfs(d.dir, &free); err != nil {
		d.t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(free.Bavail*uint64(free.Bsize)-leave)); err != nil {
		d.t.Fatal(err)
	}
}
