package sibling

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Within is the name that stands for a directory in what is kept within it.
const Within = "."

// Inside reports whether what slipway keeps for the directory at path has to be inside of it: something is mounted there,
// so that it can neither be renamed nor replaced, or its parent may not be written.
func Inside(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	return mountRoot(path) || unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK) != nil
}

// deviceDiffers reports whether two paths are on different file systems.
func deviceDiffers(a, b string) bool {
	var left, right unix.Stat_t
	if unix.Lstat(a, &left) != nil || unix.Lstat(b, &right) != nil {
		return false
	}
	return left.Dev != right.Dev
}
