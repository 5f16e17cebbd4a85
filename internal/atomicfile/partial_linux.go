package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives f room for size bytes. On tmpfs it only looks whether there is room: fallocate(2) takes as long there as
// the writing itself, and pages have no place on a disk that could be better.
func allocate(f *os.File, size int64) error {
	var at unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &at); err == nil && at.Type == unix.TMPFS_MAGIC {
		if at.Blocks > 0 && int64(at.Bavail)*at.Bsize < size {
			return unix.ENOSPC
		}
		return errors.ErrUnsupported
	}
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
