//go:build !linux

package atomicdir

import (
	"errors"
	"os"
)

// exchange is for Linux alone: elsewhere the old entry is renamed away first.
func exchange(*os.Root, string, *os.Root, string) error { return errors.ErrUnsupported }
