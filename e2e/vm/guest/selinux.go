package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// labels checks which of two files a process of confined_t may read.
func labels(name, first, second string) {
	got := tries("attr/exec", "u:r:confined_t:s0", "read", "/tmp/tree/first", "/tmp/tree/dir/second")
	want := fmt.Sprintf("%s /tmp/tree/first\n%s /tmp/tree/dir/second\n", first, second)
	say(name, got == want, "got %q, want %q", got, want)
}

func selinux() {
	must(unix.Mount("selinuxfs", "/sys/fs/selinux", "selinuxfs", 0, ""))
	policy, err := os.ReadFile("/policy/selinux")
	must(err)
	must(os.WriteFile("/sys/fs/selinux/load", policy, 0))
	// A fresh file system, whose files the policy labels.
	must(os.MkdirAll("/tmp/tree", 0o755))
	must(unix.Mount("tmpfs", "/tmp/tree", "tmpfs", 0, ""))
	must(os.Mkdir("/tmp/tree/dir", 0o755))
	for _, name := range []string{"/tmp/tree/first", "/tmp/tree/dir/second"} {
		must(os.WriteFile(name, []byte("x"), 0o644))
	}
	labels("without labels", "may", "may") // those of the first process
	const denied, allowed = "u:r:denied_t:s0", "u:r:allowed_t:s0:c1,c2"
	slipway("a tree", 0, `"changed":"4"`, "selinux-label", denied, "/tmp/tree", "--recursive")
	labels("a tree: enforced", "may not", "may not")
	slipway("a tree: the second run", 0, `"skipped":"unchanged"`, "selinux-label", denied, "/tmp/tree", "--recursive")
	slipway("a tree: the state", 0, `"selinux":"enforcing","checked":"yes"`, "selinux-label", denied, "/tmp/tree", "--recursive")
	slipway("one file", 0, `"changed":"1"`, "selinux-label", allowed, "/tmp/tree/first")
	labels("one file: enforced", "may", "may not")
	slipway("a context that the policy does not know", 65, "does not know the context", "selinux-label", "u:r:nowhere_t:s0", "/tmp/tree/first")
	slipway("a category that it does not know", 65, "does not know the context", "selinux-label", "u:r:allowed_t:s0:c9", "/tmp/tree/first")
	labels("a context that the policy does not know: nothing changed", "may", "may not")
	run("somebody else's file", unprivileged(65532), 77, "", "selinux-label", allowed, "/tmp/tree/dir/second")
}
