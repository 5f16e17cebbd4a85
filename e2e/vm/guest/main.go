// Command guest is the first process of a virtual machine: it mounts what a node has, lets slipway load profiles and set
// labels, sees whether the kernel enforces them, says so on the serial line and switches the machine off.
//
// It is also the process that is confined: "guest try FILE…" says of each file whether it may be written, "guest read FILE…"
// whether it may be read.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) > 1 && os.Getpid() != 1 {
		switch os.Args[1] {
		case "try":
			attempt(os.Args[2:], func(name string) error { return os.WriteFile(name, []byte("x"), 0o644) })
		case "read":
			attempt(os.Args[2:], func(name string) error { _, err := os.ReadFile(name); return err })
		case "confined":
			confined(os.Args[2], os.Args[3], os.Args[4:])
		}
		return
	}
	defer off()
	prepare()
	switch option("guest") {
	case "apparmor":
		apparmor()
	case "off":
		slipway("a kernel without AppArmor", 71, "AppArmor is off", "apparmor-load", "/policy/web.aa")
	case "selinux":
		selinux()
	}
	fmt.Println("DONE")
}

// off switches the machine off, also after a panic, which is told before.
func off() {
	if why := recover(); why != nil {
		fmt.Println("FAIL guest:", why)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// prepare mounts what a node has.
func prepare() {
	for _, m := range [][2]string{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"}, {"securityfs", "/sys/kernel/security"},
	} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			panic(fmt.Sprintf("mount %s: %v", m[1], err))
		}
	}
	must(os.Setenv("PATH", "/bin:/sbin"))
	for _, dir := range []string{"/tmp/allowed", "/tmp/denied"} {
		must(os.Mkdir(dir, 0o777))
	}
}

// option returns a word of the kernel's command line.
func option(name string) string {
	line, err := os.ReadFile("/proc/cmdline")
	must(err)
	for word := range strings.FieldsSeq(string(line)) {
		if value, found := strings.CutPrefix(word, name+"="); found {
			return value
		}
	}
	return ""
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// say tells the outcome of a check.
func say(name string, ok bool, why string, args ...any) {
	if ok {
		fmt.Println("PASS", name)
		return
	}
	fmt.Printf("FAIL %s: %s\n", name, strings.Join(strings.Fields(fmt.Sprintf(why, args...)), " "))
}

// slipway checks that a run ends with an exit code and says something.
func slipway(name string, code int, says string, args ...string) { run(name, nil, code, says, args...) }

// run is slipway with other attributes of the process.
func run(name string, attributes *syscall.SysProcAttr, code int, says string, args ...string) {
	cmd := exec.Command("/bin/slipway", append([]string{"--report", "/run/report"}, args...)...)
	cmd.SysProcAttr = attributes
	out, err := cmd.CombinedOutput()
	got := 0
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		got = exit.ExitCode()
	} else if err != nil {
		got = -1
	}
	say(name, got == code && bytes.Contains(out, []byte(says)), "exit code %d, want %d with %q: %s %v", got, code, says, out, err)
}

// attempt says of each file whether something may be done with it.
func attempt(files []string, do func(name string) error) {
	for _, name := range files {
		err := do(name)
		switch {
		case err == nil:
			fmt.Println("may", name)
		case errors.Is(err, os.ErrPermission):
			fmt.Println("may not", name)
		default:
			fmt.Println("cannot", name, err)
		}
	}
}

// confined becomes this program again, in a profile or a context.
func confined(attribute, label string, args []string) {
	runtime.LockOSThread()
	must(os.WriteFile("/proc/thread-self/"+attribute, []byte(label), 0))
	must(syscall.Exec("/proc/self/exe", append([]string{"guest"}, args...), os.Environ()))
}

// tries returns what this program may do when it is confined.
func tries(attribute, label string, args ...string) string {
	out, err := exec.Command("/proc/self/exe", append([]string{"confined", attribute, label}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", out, err)
	}
	return string(out)
}

// unprivileged are attributes of a process that is somebody else, with some capabilities.
func unprivileged(gid uint32, capabilities ...uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: gid}, AmbientCaps: capabilities}
}
