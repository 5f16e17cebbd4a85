package filetree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// chmod gives e the bits that want returns, and fills e with what it has then.
//
// It pins the inode with O_PATH before it looks, so that the bits are computed from and given to the same file, and goes
// by /proc/self/fd, since fchmod(2) refuses such a descriptor and fchmodat2(2) is younger (Linux 6.6) than the kernels
// of many nodes. See the comment on fchmodat in the C library: https://sourceware.org/bugzilla/show_bug.cgi?id=14578
func (e *Entry) chmod(want func(bits uint32, dir bool) uint32) error {
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(e.dir, e.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := e.lookAt(fd); err != nil {
		return err
	}
	if e.Link {
		return nil
	}
	bits := want(e.Bits, e.Dir)
	err = ignoringEINTR(func() error { return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), bits) })
	if errors.Is(err, unix.ENOENT) {
		return fault.New(fault.Unsupported, "/proc is not mounted")
	}
	if err != nil {
		return err
	}
	return e.lookAt(fd)
}

// lookAt fills e with what the open file fd is.
func (e *Entry) lookAt(fd int) error {
	var stat unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(fd, &stat) }); err != nil {
		return err
	}
	e.fill(&stat)
	return nil
}
