//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// processUsage is what this process has used up.
func processUsage() usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}
	}
	return usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), RSS: residentNow()}
}

// residentNow is the resident memory in bytes; 0 where the system does not tell
// (https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html).
func residentNow() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}
