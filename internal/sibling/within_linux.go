package sibling

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountRoot reports whether something is mounted at path. The kernel says so since Linux 5.8; before, a bind mount of the
// parent's own file system is not seen.
func mountRoot(path string) bool {
	var at unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO, &at); err == nil &&
		at.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return at.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	return deviceDiffers(path, filepath.Dir(path))
}
