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
	err := renameat2(oldDir, oldName, newDir, newName, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// rename moves an entry from one open directory to another.
func rename(oldDir *os.Root, oldName string, newDir *os.Root, newName string) error {
	return renameat2(oldDir, oldName, newDir, newName, 0)
}

func renameat2(oldDir *os.Root, oldName string, newDir *os.Root, newName string, flags uint) error {
	from, err := oldDir.Open(".")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := newDir.Open(".")
	if err != nil {
		return err
	}
	defer to.Close()
	return ignoringEINTR(func() error {
		if flags == 0 {
			return unix.Renameat(int(from.Fd()), oldName, int(to.Fd()), newName)
		}
		return unix.Renameat2(int(from.Fd()), oldName, int(to.Fd()), newName, flags)
	})
}
