package atomicdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// few is the number of entries up to which each is synced by itself.
const few = 100

// errMany ends a walk that has found more than few.
var errMany = errors.New("many entries")

// syncTree makes everything below the open directory dir durable: what fsync(2) does for one file.
//
// A tree of few entries is synced one by one. One of many is synced by one syncfs(2) of its file system, which is one commit
// of the journal instead of one for each file. Measured for 50,000 files of 1 kB on ext4: fsync by 32 threads, which share
// commits, 15.3 s, by 128 threads 7.5 s, syncfs 1.0 s; for 20,000 of 4 kB: 16 threads 3.5 s, 64 threads 3.4 s,
// sync_file_range(2) when a file is closed and then fsync by 64 threads 1.5 s, syncfs 1.1 s.
//
// The price of syncfs is that it also waits for what neighbours have written to the same disk. That is why it is not used
// for a tree of few entries, such as one large model, where fsync is as quick. On tmpfs both cost nothing.
//
// Syncfs tells of errors of writing back since Linux 5.8.
func syncTree(ctx context.Context, dir *os.File) error {
	err := syncEach(ctx, dir.Name())
	if errors.Is(err, errMany) || errors.Is(err, unix.EACCES) { // a file that its owner may not read
		return syncFileSystem(ctx, dir)
	}
	return err
}

// syncEach syncs the files and directories at path one by one, if they are few.
func syncEach(ctx context.Context, path string) error {
	var paths []string
	err := filepath.WalkDir(path, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() || e.IsDir() {
			paths = append(paths, path)
		}
		if len(paths) > few {
			return errMany
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := syncOne(path); err != nil {
			return err
		}
	}
	return nil
}

func syncOne(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return ignoringUnsyncable(f.Sync())
}

// syncFileSystem syncs the file system of dir. The call cannot be interrupted: when ctx ends first, it is left behind, to end
// by itself.
func syncFileSystem(ctx context.Context, dir *os.File) error {
	fd, err := unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer unix.Close(fd)
		done <- ignoringEINTR(func() error { return unix.Syncfs(fd) })
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
