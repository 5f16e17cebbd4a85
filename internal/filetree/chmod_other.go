//go:build unix && !linux

package filetree

import "golang.org/x/sys/unix"

// chmod gives e the bits that want returns, and fills e with what it has then.
func (e *Entry) chmod(want func(bits uint32, dir bool) uint32) error {
	if err := e.look(); err != nil || e.Link {
		return err
	}
	if err := unix.Fchmodat(e.dir, e.name, want(e.Bits, e.Dir), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return e.look()
}
