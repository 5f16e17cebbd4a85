package dotgit

import (
	"io/fs"
	"syscall"
)

// statFields returns what git keeps of a file, as it keeps it: the lower 32 bits of each. The seventh is the mode's place.
func statFields(info fs.FileInfo) (fields [10]uint32) {
	if info == nil {
		return fields
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fields
	}
	return [10]uint32{
		uint32(stat.Ctim.Sec), uint32(stat.Ctim.Nsec), uint32(stat.Mtim.Sec), uint32(stat.Mtim.Nsec),
		uint32(stat.Dev), uint32(stat.Ino), 0, stat.Uid, stat.Gid, uint32(stat.Size),
	}
}
