package fetch

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncTree makes all that was written below root durable, with one syncfs(2) for all the files: to sync each by itself
// takes many times as long (see internal/atomicdir).
func syncTree(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		if err := unix.Syncfs(int(dir.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
