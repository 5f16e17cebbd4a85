package atomicdir

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// syncTree makes everything below the open directory dir durable.
func syncTree(_ context.Context, dir *os.File) error {
	return ignoringEINTR(func() error { return unix.Syncfs(int(dir.Fd())) })
}
