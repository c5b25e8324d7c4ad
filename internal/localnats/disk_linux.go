package localnats

import (
	"os"

	"golang.org/x/sys/unix"
)

const canFlush = true

// flush waits for all of the file system's dirty pages. Since Linux 5.8 it
// reports write errors that happened since the descriptor was opened
// (https://man7.org/linux/man-pages/man2/syncfs.2.html).
func flush(dir *os.File) error {
	for {
		err := unix.Syncfs(int(dir.Fd()))
		if err != unix.EINTR {
			return os.NewSyscallError("syncfs", err)
		}
	}
}

// freeBytes is what is left for this process on a directory's file system.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
