package localnats_test

import (
	"math"
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/localnats"
)

func TestRoom(t *testing.T) {
	dir := t.TempDir()
	if err := (&localnats.Room{Dir: dir}).Check(); err != nil {
		t.Errorf("nothing reserved: %v", err)
	}
	full := &localnats.Room{Dir: dir, Reserve: math.MaxUint64}
	if err := full.Check(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("everything reserved: %v", err)
	}
	if err := (&localnats.Room{Dir: dir + "/missing"}).Check(); err == nil {
		t.Error("a missing directory has room")
	}
}

func TestFileSystemIsNamed(t *testing.T) {
	if got := localnats.FileSystem(t.TempDir()); !strings.Contains(got, " at /") {
		t.Errorf("got %q", got)
	}
}
