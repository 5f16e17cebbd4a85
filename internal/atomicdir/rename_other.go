//go:build !linux

package atomicdir

import (
	"errors"
	"os"
	"path/filepath"
)

// exchange is for Linux alone: elsewhere the old entry is renamed away first.
func exchange(*os.Root, string, *os.Root, string) error { return errors.ErrUnsupported }

// rename moves an entry from one open directory to another, by their paths.
func rename(oldDir *os.Root, oldName string, newDir *os.Root, newName string) error {
	return os.Rename(filepath.Join(oldDir.Name(), oldName), filepath.Join(newDir.Name(), newName))
}
