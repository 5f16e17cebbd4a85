// Package memory tells how much memory the process may use: what the container's cgroup allows.
package memory

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The places of the kernel's files: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory and
// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html.
const (
	membership = "proc/self/cgroup"
	unified    = "sys/fs/cgroup"
	legacy     = "sys/fs/cgroup/memory"
)

// Limit returns the least limit of the process's cgroup and of those above it, in bytes, or false where there is none.
func Limit() (int64, bool) { return limit("/") }

// limit is Limit with the kernel's files below root.
func limit(root string) (int64, bool) {
	text, err := os.ReadFile(filepath.Join(root, membership))
	if err != nil {
		return 0, false
	}
	least, found := int64(0), false
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		base, file := "", ""
		switch {
		case controllers == "":
			base, file = unified, "memory.max"
		case controllers == "memory":
			base, file = legacy, "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path may be the host's, of which nothing is mounted but the end.
		for dir := filepath.Join("/", group); ; dir = filepath.Dir(dir) {
			if n, ok := read(filepath.Join(root, base, dir, file)); ok && (!found || n < least) {
				least, found = n, true
			}
			if dir == "/" {
				break
			}
		}
	}
	return least, found
}

// read returns the number in a file. Version 1 says "no limit" by a number that no machine has.
func read(file string) (int64, bool) {
	const absurd = 1 << 60
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n > 0 && n < absurd
}
