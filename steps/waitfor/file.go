package waitfor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"

	"github.com/slipway-init/slipway/internal/fault"
)

// maxContent bounds what is read of a file or a body, in bytes.
const maxContent = 1 << 20

// lookFile looks at a file or a directory: whether it exists, holds something, and matches.
func lookFile(_ context.Context, e *eye, t target) error {
	path := e.env.Path(t.Path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || fault.KindOf(err) == fault.NoInput {
		return gone("no such file")
	}
	if err != nil {
		return plainPath(err)
	}
	if e.notEmpty {
		if err := notEmpty(path, info); err != nil {
			return err
		}
	}
	if e.contentRegex.Regexp == nil {
		return nil
	}
	if !info.Mode().IsRegular() { // a pipe would block
		return fault.New(fault.Unsupported, "is not a regular file: its content cannot be read")
	}
	return matches(path, e.contentRegex.Regexp)
}

// notEmpty checks that a file has a size, or a directory an entry.
func notEmpty(path string, info fs.FileInfo) error {
	if !info.IsDir() {
		if info.Size() == 0 {
			return gone("is empty")
		}
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return plainPath(err)
	}
	defer dir.Close()
	_, err = dir.ReadDir(1)
	if errors.Is(err, io.EOF) {
		return gone("is empty")
	}
	return plainPath(err)
}

// matches checks that the first MiB of a file matches.
func matches(path string, want *regexp.Regexp) error {
	f, err := os.Open(path)
	if err != nil {
		return plainPath(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxContent))
	if err != nil {
		return plainPath(err)
	}
	if !want.Match(content) {
		return gone("its content does not match %s", want)
	}
	return nil
}

// plainPath returns the cause of a *fs.PathError, because the target has named the path already.
func plainPath(err error) error {
	if failure, ok := errors.AsType[*fs.PathError](err); ok {
		return failure.Err
	}
	return err
}
