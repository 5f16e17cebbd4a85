//go:build !linux

package atomicdir

import (
	"context"
	"os"
)

// syncTree syncs the directory alone: what runs in production is Linux.
func syncTree(_ context.Context, dir *os.File) error { return dir.Sync() }
