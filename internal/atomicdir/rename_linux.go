package atomicdir

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two entries by one call. Its error is one of errors.ErrUnsupported where the file system or the kernel
// cannot: NFS, for one.
func exchange(oldDir *os.Root, oldName string, newDir *os.Root, newName string) error {
	err := between(oldDir, newDir, func(from, to int) error {
		return unix.Renameat2(from, oldName, to, newName, unix.RENAME_EXCHANGE)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}
