// Command confine puts itself under a seccomp profile, as a container runtime does with a container, and then tries what the
// profile may refuse:
//
//	confine PROFILE
//
// It prints "allowed NAME" or "refused NAME: ERROR" for each of getpid, mount and unshare.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// profile is what of the OCI form the tests use.
type profile struct {
	DefaultAction string
	Syscalls      []struct {
		Names  []string
		Action string
	}
}

var actions = map[string]seccomp.Action{
	"SCMP_ACT_ALLOW": seccomp.ActionAllow, "SCMP_ACT_ERRNO": seccomp.ActionErrno, "SCMP_ACT_LOG": seccomp.ActionLog,
}

func main() {
	if err := load(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "confine:", err)
		os.Exit(1)
	}
	for _, try := range []struct {
		name string
		call func() error
	}{
		{"getpid", func() error { unix.Getpid(); return nil }},
		{"mount", func() error { return unix.Mount("none", "/nowhere-at-all", "tmpfs", 0, "") }},
		{"unshare", func() error { return unix.Unshare(unix.CLONE_FILES) }},
	} {
		// Where a call is allowed it may fail for another reason: there is no such folder.
		if err := try.call(); err == unix.EPERM {
			fmt.Printf("refused %s: %v\n", try.name, err)
		} else {
			fmt.Println("allowed", try.name)
		}
	}
}

func load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var p profile
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	policy := seccomp.Policy{DefaultAction: actions[p.DefaultAction]}
	for _, rule := range p.Syscalls {
		policy.Syscalls = append(policy.Syscalls, seccomp.SyscallGroup{Names: rule.Names, Action: actions[rule.Action]})
	}
	if err := seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: policy}); err != nil {
		return fmt.Errorf("load %s: %s", file, strings.TrimSpace(err.Error()))
	}
	return nil
}
