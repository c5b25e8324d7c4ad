package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// kill ends the other programs of the pod, whose processes are seen here: all but the
// first, which keeps the pod together, and those of this program.
func kill() error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	mine, err := os.Stat(own)
	if err != nil {
		return err
	}
	paths, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is well-formed
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == 1 {
			continue
		}
		if other, err := os.Stat(path); err != nil || os.SameFile(other, mine) {
			continue // it has ended, or belongs to the pod's keeper
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill the process %d: %w", pid, err)
		}
	}
	return nil
}
