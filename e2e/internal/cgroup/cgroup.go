// Package cgroup runs commands in a memory cgroup of their own, as the containers of a pod are: of version 1 or 2, whichever
// the machine has.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Memory is a cgroup whose processes may not use more than so many bytes together: their own and what the kernel keeps for
// them, the pages of the files that they read and write included.
type Memory struct {
	dir string
	version
}

// version is what the two versions of cgroups call things.
type version struct {
	limit, swap, peak, kills string
}

var (
	first  = version{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"}
	second = version{"memory.max", "memory.swap.max", "memory.peak", "memory.events"}
)

// NewMemory makes a cgroup with a limit; the test's end removes it. Where none can be made the test is skipped with the
// reason, or fails in CI.
func NewMemory(t testing.TB, limit int64) *Memory {
	t.Helper()
	m, err := newMemory(limit)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip("needs a memory cgroup: ", err)
	}
	t.Cleanup(func() {
		// What was killed may take a moment to leave.
		for range 100 {
			if err = os.Remove(m.dir); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Error(err)
	})
	return m
}

func newMemory(limit int64) (*Memory, error) {
	parent, version, err := mounted()
	if err != nil {
		return nil, err
	}
	m := &Memory{version: version}
	if m.dir, err = os.MkdirTemp(parent, "slipway-e2e-"); err != nil {
		return nil, err
	}
	if err := m.set(m.limit, limit); err != nil {
		return nil, errors.Join(err, os.Remove(m.dir))
	}
	// A machine without swap may lack the file. Version 1 counts memory and swap together, version 2 apart.
	with := limit
	if version == second {
		with = 0
	}
	if err := m.set(m.swap, with); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, os.Remove(m.dir))
	}
	return m, nil
}

// mounted returns the folder in which memory cgroups can be made.
func mounted() (string, version, error) {
	const v1, v2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(v1, first.limit)); err == nil {
		return v1, first, nil
	}
	controllers, err := os.ReadFile(filepath.Join(v2, "cgroup.subtree_control"))
	if err != nil {
		return "", version{}, err
	}
	if !strings.Contains(" "+string(bytes.TrimSpace(controllers))+" ", " memory ") {
		err = os.WriteFile(filepath.Join(v2, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	return v2, second, err
}

func (m *Memory) set(name string, value int64) error {
	// No O_CREATE: a file that is not there is a control that the kernel lacks.
	f, err := os.OpenFile(filepath.Join(m.dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatInt(value, 10))
	return errors.Join(err, f.Close())
}

// Prefix returns the program that runs another one in the cgroup, on one CPU.
func (m *Memory) Prefix() []string {
	const script = `echo $$ >"$0/cgroup.procs" && cpu=$(taskset -cp $$) && exec taskset -c "$(echo "${cpu##*: }" | cut -d, -f1 | cut -d- -f1)" "$@"`
	return []string{"sh", "-c", script, m.dir}
}

// Peak returns the most bytes that the processes used at a time. It comes close to the limit whenever they write files,
// because the kernel keeps the pages until it needs the room.
func (m *Memory) Peak(t testing.TB) int64 {
	t.Helper()
	peak, err := strconv.ParseInt(strings.TrimSpace(m.read(t, m.peak)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

// Kills returns how many processes the kernel killed because the memory did not suffice.
func (m *Memory) Kills(t testing.TB) int {
	t.Helper()
	for line := range strings.Lines(m.read(t, m.kills)) {
		var kills int
		if _, err := fmt.Sscanf(line, "oom_kill %d", &kills); err == nil {
			return kills
		}
	}
	t.Fatalf("%s/%s does not say how many processes were killed", m.dir, m.kills)
	return 0
}

func (m *Memory) read(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
