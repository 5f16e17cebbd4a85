// Command names writes the names of Linux's system calls, of all architectures that golang.org/x/sys knows, sorted, a line each:
//
//	go run ./names FILE
//
// The module takes them from the kernel's own tables.
package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// private are what the tables of x/sys leave out: those of 32-bit ARM alone, and names of libseccomp for what some
// architectures do by socketcall(2) or ipc(2).
var private = []string{
	"breakpoint", "cacheflush", "get_tls", "set_tls", "usr26", "usr32", "arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2",
	"accept", "bind", "connect", "recv", "send", "socket", "semtimedop", "msgget", "shmat", "sysmips", "timerfd",
}

var constant = regexp.MustCompile(`(?m)^\s*SYS_([A-Z0-9_]+)\s*=\s*\d+`)

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "names:", err)
		os.Exit(1)
	}
}

func write(file string) error {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		return fmt.Errorf("find golang.org/x/sys: %w", err)
	}
	tables, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(module)), "unix", "zsysnum_linux_*.go"))
	if err != nil || len(tables) == 0 {
		return fmt.Errorf("x/sys has no tables of system calls: %w", err)
	}
	names := make(map[string]bool)
	for _, name := range private {
		names[name] = true
	}
	for _, table := range tables {
		source, err := os.ReadFile(table)
		if err != nil {
			return err
		}
		for _, found := range constant.FindAllStringSubmatch(string(source), -1) {
			names[strings.ToLower(found[1])] = true
		}
	}
	return os.WriteFile(file, []byte(strings.Join(slices.Sorted(maps.Keys(names)), "\n")+"\n"), 0o644)
}
