package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// lockName is the file in the data directory that a running process has locked.
const lockName = "belay.lock"

// lock makes sure that one process alone works on the data directory, which it
// creates if it is missing: two brokers on one directory destroy what it holds,
// and neither notices. The lock ends with the process, however it ends.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w; --data-dir, or BELAY_DATA_DIR, names another place", err)
	}
	f, err := openLocked(filepath.Join(dir, lockName))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("lock the data directory %s: %w; it must be of the user that belay runs as, or --data-dir another one", dir, err)
	case err != nil:
		return nil, fmt.Errorf("lock the data directory %s: %w; is another belay serve using it?", dir, err)
	}
	return f, nil
}
