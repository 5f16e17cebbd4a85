//go:build !linux

package atomicfile

import (
	"errors"
	"os"
)

func allocate(*os.File, int64) error { return errors.ErrUnsupported }

func writeback(*os.File, int64, int64) {}
