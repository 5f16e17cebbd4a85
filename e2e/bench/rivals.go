package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// waiter is a program that waits for something on a port of 127.0.0.1.
type waiter struct {
	name string
	tcp  func(port string) *exec.Cmd // until the port is open
	http func(port string) *exec.Cmd // until GET / is answered with 200; nil for one that cannot
}

// patience is longer than any wait that is measured.
const patience = "60s"

// waiters returns slipway and the rivals that can be had, slipway first, with a note for each one that cannot.
func (b *bench) waiters() (found []waiter, notes []string, err error) {
	found = append(found, waiter{
		name: "slipway wait-for",
		tcp: func(port string) *exec.Cmd {
			return b.run("wait-for", "--timeout", patience, "tcp://127.0.0.1:"+port)
		},
		http: func(port string) *exec.Cmd {
			return b.run("wait-for", "--timeout", patience, "http://127.0.0.1:"+port)
		},
	})
	for _, rival := range []struct {
		name, variable string
		tcp, http      func(path, port string) *exec.Cmd
	}{
		{
			"wait4x", "WAIT4X",
			func(path, port string) *exec.Cmd {
				return b.command(path, "tcp", "127.0.0.1:"+port, "--timeout", patience)
			},
			func(path, port string) *exec.Cmd {
				return b.command(path, "http", "http://127.0.0.1:"+port, "--expect-status-code", "200", "--timeout", patience)
			},
		},
		{
			"dockerize", "DOCKERIZE",
			func(path, port string) *exec.Cmd {
				return b.command(path, "-wait", "tcp://127.0.0.1:"+port, "-timeout", patience)
			},
			func(path, port string) *exec.Cmd {
				return b.command(path, "-wait", "http://127.0.0.1:"+port, "-timeout", patience)
			},
		},
	} {
		path, err := program(rival.name, rival.variable)
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		found = append(found, waiter{
			name: rival.name,
			tcp:  func(port string) *exec.Cmd { return rival.tcp(path, port) },
			http: func(port string) *exec.Cmd { return rival.http(path, port) },
		})
	}
	loops, err := b.loops()
	return append(found, loops...), notes, err
}

// program returns the path of a rival: the one that a variable names, the one in PATH, or one that is built from
// e2e/tools. wait4x is not there: no module proxy has it.
func program(name, variable string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return filepath.Abs(path)
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	path, err := tools.Build(name)
	if err != nil {
		return "", fmt.Errorf("%s could not be had: it is not in PATH, %s does not name it, and: %w", name, variable, err)
	}
	return path, nil
}

// loops returns the shell loops that people write: with a sleep of 2 s, and with one of 1 s, which is the default tick of
// wait4x and dockerize and so shows what these can reach where they cannot be had.
func (b *bench) loops() ([]waiter, error) {
	name, look, err := b.look()
	if err != nil {
		return nil, err
	}
	var found []waiter
	for _, seconds := range []string{"1", "2"} {
		script := fmt.Sprintf("until %s; do sleep %s; done", look, seconds)
		found = append(found, waiter{
			name: fmt.Sprintf("until %s; sleep %s", name, seconds),
			tcp:  func(port string) *exec.Cmd { return b.command("bash", "-c", script, "bash", port) },
		})
	}
	return found, nil
}

// look returns the first way to look at port $1 in a shell that finds an open one. Not every nc knows -z, busybox's
// least of all.
func (b *bench) look() (name, script string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "", "", err
	}
	for _, c := range []struct{ name, script string }{
		{"nc -z", `nc -z 127.0.0.1 "$1" 2>/dev/null`},
		{"busybox nc -z", `busybox nc -z 127.0.0.1 "$1" 2>/dev/null`},
		{"bash's /dev/tcp", `(: </dev/tcp/127.0.0.1/"$1") 2>/dev/null`},
	} {
		if _, err = measure(b.command("bash", "-c", c.script, "bash", port)); err == nil {
			return c.name, c.script, nil
		}
	}
	return "", "", fmt.Errorf("look at a port with nc or bash: %w", err)
}
