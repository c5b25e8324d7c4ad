//go:build !linux

package localnats

import (
	"errors"
	"os"
)

const canFlush = false

func flush(*os.File) error {
	return errors.New("this operating system cannot flush one file system")
}
