package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// files are what a confined process tries to write.
var files = []string{"try", "/tmp/allowed/f", "/tmp/denied/f"}

// enforced checks what a process in a profile may write.
func enforced(name, profile, allowed, denied string) {
	got := tries("attr/apparmor/exec", "exec "+profile, files...)
	want := fmt.Sprintf("%s /tmp/allowed/f\n%s /tmp/denied/f\n", allowed, denied)
	say(name, got == want, "got %q, want %q", got, want)
}

// listed checks whether the kernel lists a profile, with its mode.
func listed(name, line string, want bool) {
	all, err := os.ReadFile("/sys/kernel/security/apparmor/profiles")
	must(err)
	say(name, strings.Contains("\n"+string(all), "\n"+line+"\n") == want, "the kernel lists %q", all)
}

func apparmor() {
	load := func(args ...string) []string { return append([]string{"apparmor-load"}, args...) }
	slipway("compiled: loads", 0, `"loaded":"1"`, load("/policy/web.aa")...)
	listed("compiled: listed", "web (enforce)", true)
	enforced("compiled: enforced", "web", "may", "may not")
	slipway("compiled: the second run", 0, `"skipped":"unchanged"`, load("/policy/web.aa")...)
	slipway("compiled: a changed one is somebody else's", 78, "--allow-name web", load("/policy/web-changed.aa")...)
	enforced("compiled: and the old one stays", "web", "may", "may not")
	slipway("compiled: a changed one is replaced", 0, `"loaded":"1"`, load("/policy/web-changed.aa", "--allow-name", "web")...)
	enforced("compiled: and enforced", "web", "may not", "may not")
	slipway("compiled: the second run of the changed one", 0, `"skipped":"unchanged"`, load("/policy/web-changed.aa", "--allow-name", "web")...)
	slipway("complain mode", 0, `"loaded":"1"`, load("/policy/web-changed.aa", "--allow-name", "w*", "--complain")...)
	listed("complain mode: listed", "web (complain)", true)
	enforced("complain mode: not enforced", "web", "may", "may")
	slipway("complain mode: the second run", 0, `"skipped":"unchanged"`, load("/policy/web-changed.aa", "--allow-name", "w*", "--complain")...)
	slipway("enforced again", 0, `"loaded":"1"`, load("/policy/web-changed.aa", "--allow-name", "w*")...)
	listed("enforced again: listed", "web (enforce)", true)

	slipway("text: loads", 0, `"loaded":"1"`, load("/policy/text")...)
	enforced("text: enforced", "text", "may", "may not")
	slipway("text: the second run", 0, `"skipped":"unchanged"`, load("/policy/text")...)
	slipway("text: a wrong rule", 65, "line 3", load("/policy/wrong")...)
	must(os.Rename("/sbin/apparmor_parser", "/sbin/hidden"))
	slipway("text: no parser", 71, "apparmor-compile", load("/policy/text")...)
	must(os.Rename("/sbin/hidden", "/sbin/apparmor_parser"))

	slipway("two profiles and a hat", 0, `"loaded":"1"`, load("/policy/two.aa")...)
	listed("two profiles and a hat: the hat", "one//hat (enforce)", true)
	slipway("two profiles and a hat: the second run", 0, `"skipped":"unchanged"`, load("/policy/two.aa")...)
	slipway("not among the names", 78, "not among those of --allow-name", load("/policy/two.aa", "--allow-name", "one")...)

	broken(load)
	privileges(load)

	slipway("remove", 0, `"removed":"one other"`, load("/policy/two.aa", "--remove")...)
	for _, profile := range []string{"one", "one//hat", "other"} {
		listed("remove: "+strings.ReplaceAll(profile, "//", " "), profile+" (enforce)", false)
	}
	slipway("remove: the second run", 0, `"skipped":"none of the profiles is loaded"`, load("/policy/two.aa", "--remove")...)
	slipway("remove: somebody else's stays", 78, "is not removed", load("/policy/web-changed.aa", "--remove")...)
	listed("remove: and is listed", "web (enforce)", true)

	must(unix.Unmount("/sys/kernel/security", 0))
	slipway("no securityfs", 71, "/sys/kernel/security", load("/policy/web.aa")...)
}

// broken tries files that are no policy.
func broken(load func(...string) []string) {
	whole, err := os.ReadFile("/policy/web.aa")
	must(err)
	for name, content := range map[string][]byte{
		"cut off": whole[:len(whole)-100], "empty": {}, "another ABI": append([]byte("\x04\x08\x00version\x00\x02\xff\x03\x00\x00"), whole[16:]...),
	} {
		must(os.WriteFile("/tmp/broken.aa", content, 0o644))
		code := 65
		if name == "another ABI" {
			code = 71
		}
		slipway("broken: "+name, code, "", load("/tmp/broken.aa", "--allow-name", "*")...)
	}
}

// privileges tries who may load: it takes the capability, and the user or the group 0.
func privileges(load func(...string) []string) {
	args := load("/policy/web.aa", "--allow-name", "web")
	run("privileges: neither", unprivileged(65532), 77, "MAC_ADMIN", args...)
	run("privileges: the capability alone", unprivileged(65532, unix.CAP_MAC_ADMIN), 77, "group 0", args...)
	run("privileges: the group alone", unprivileged(0), 77, "MAC_ADMIN", args...)
	run("privileges: both", unprivileged(0, unix.CAP_MAC_ADMIN), 0, `"loaded":"1"`, args...)
}
