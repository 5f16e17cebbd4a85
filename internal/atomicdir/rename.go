package atomicdir

import (
	"os"

	"golang.org/x/sys/unix"
)

// rename moves an entry from one open directory to another, over a file or an empty directory of that name. It is
// renameat(2) itself: os.Root.Rename refuses to replace an empty directory.
func rename(oldDir *os.Root, oldName string, newDir *os.Root, newName string) error {
	return between(oldDir, newDir, func(from, to int) error { return unix.Renameat(from, oldName, to, newName) })
}

// between calls f with the descriptors of two open directories, and again for as long as a signal interrupts it.
func between(oldDir, newDir *os.Root, f func(from, to int) error) error {
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
	return ignoringEINTR(func() error { return f(int(from.Fd()), int(to.Fd())) })
}
