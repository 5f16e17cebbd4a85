package receipt

import "golang.org/x/sys/unix"

// birth returns when what stands at path was made, in nanoseconds since 1970, or 0 if the file system does not tell.
func birth(path string) int64 {
	var at unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &at)
	if err != nil || at.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return at.Btime.Sec*1e9 + int64(at.Btime.Nsec)
}
