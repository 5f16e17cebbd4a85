package filetree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// maxXattr is how much of a value is compared, in bytes: a longer one is none that slipway set.
const maxXattr = 4 << 10

// SetXattr gives e an extended attribute, a link itself and not what it points to, and reports whether that was needed: same
// says whether the value that e has is as good as the new one. See xattr(7).
//
// As chmod does, it pins the inode and goes by /proc/self/fd: setxattrat(2) is younger (Linux 6.13) than the kernels of
// many nodes.
func (e *Entry) SetXattr(name string, value []byte, same func(has []byte) bool) (changed bool, err error) {
	var fd int
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(e.dir, e.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return false, unreadable(e, "open", err)
	}
	defer unix.Close(fd)
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	var has [maxXattr]byte
	var n int
	err = ignoringEINTR(func() (err error) {
		n, err = unix.Getxattr(path, name, has[:])
		return err
	})
	if err == nil && same(has[:n]) {
		return false, nil
	}
	err = ignoringEINTR(func() error { return unix.Setxattr(path, name, value, 0) })
	if errors.Is(err, unix.ENOENT) {
		return false, fault.New(fault.Unsupported, "/proc is not mounted")
	}
	if err != nil {
		return false, e.failed("set "+name+" of", err)
	}
	return true, nil
}
