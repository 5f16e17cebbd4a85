package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate is fallocate(2).
func allocate(f *os.File, size int64) error {
	for {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// writeback starts to write pages out, see sync_file_range(2).
func writeback(f *os.File, offset, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}
