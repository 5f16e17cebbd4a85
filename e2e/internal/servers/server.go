// Package servers starts real servers for one test each: on loopback, on free ports, in a folder of their own. They end
// with the test; should the test process be killed, the kernel ends them. What they logged is shown when the test fails.
package servers

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to start or to stop before the test fails.
const patience = 60 * time.Second

// Server is a process that runs until it is stopped or its test ends.
type Server struct {
	Dir string // its folder; the path is short, so that a Unix socket fits in it

	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	stop   syscall.Signal
}

// spec says how a server is started.
type spec struct {
	dir  string
	args []string
	env  []string
	stop syscall.Signal // ends it at once and cleanly; 0 is SIGTERM
	user string         // whom it runs as when the test is root; empty is root
}

// Dir returns a fresh folder of the test with a short path that every user may enter.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

// FreePort returns a port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// start starts a server and arranges its end.
func start(t testing.TB, s spec) *Server {
	t.Helper()
	server := &Server{Dir: s.dir, log: filepath.Join(s.dir, "server.log"), exited: make(chan struct{}), stop: s.stop}
	if server.stop == 0 {
		server.stop = syscall.SIGTERM
	}
	log, err := os.OpenFile(server.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	server.cmd = command(t, s)
	server.cmd.Stdout, server.cmd.Stderr = log, log
	server.cmd.SysProcAttr.Pdeathsig = server.stop
	if err := startLocked(server.cmd); err != nil {
		t.Fatalf("start %s: %v", s.args[0], err)
	}
	go func() {
		_ = server.cmd.Wait()
		close(server.exited)
	}()
	t.Cleanup(func() {
		server.Stop(t)
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(s.args[0]), tail(server.log))
		}
	})
	return server
}

// spawner starts processes from one thread that never ends: the kernel sends the parent death signal when the thread
// that started the child ends, not the process.
var spawner = sync.OnceValue(func() chan func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

func startLocked(cmd *exec.Cmd) error {
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

// command returns the command of s, run as s.user when this is root, with an environment of its own.
func command(t testing.TB, s spec) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + s.dir, "LC_ALL=C.UTF-8"}, s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if s.user != "" && os.Geteuid() == 0 {
		uid, gid := ids(t, s.user)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return cmd
}

// runAs runs a command to its end; the test fails when it fails.
func runAs(t testing.TB, s spec) {
	t.Helper()
	if output, err := command(t, s).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", s.args, err, output)
	}
}

// giveTo makes everything below dir the named user's when this is root.
func giveTo(t testing.TB, name, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	uid, gid := ids(t, name)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(uid), int(gid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func ids(t testing.TB, name string) (uid, gid uint32) {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	u, uerr := strconv.ParseUint(account.Uid, 10, 32)
	g, gerr := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		t.Fatal(err)
	}
	return uint32(u), uint32(g)
}

// Stop ends the server and waits for it. Stopping twice is fine.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	_ = s.cmd.Process.Signal(s.stop)
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.exited
		t.Errorf("%s did not stop within %s of %s", s.cmd.Path, patience, s.stop)
	}
}

// await polls until ready reports true. The test fails when the server ends first, or does not get there.
func (s *Server) await(t testing.TB, what string, ready func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !ready() {
		select {
		case <-s.exited:
			t.Fatalf("%s ended before it was %s:\n%s", s.cmd.Path, what, tail(s.log))
		case <-deadline:
			t.Fatalf("%s was not %s within %s:\n%s", s.cmd.Path, what, patience, tail(s.log))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// awaitPort waits until something accepts connections on a port of 127.0.0.1.
func (s *Server) awaitPort(t testing.TB, port string) {
	t.Helper()
	s.await(t, "listening on "+port, func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// awaitLog waits until the server has logged a text.
func (s *Server) awaitLog(t testing.TB, text string) {
	t.Helper()
	s.await(t, "logging "+text, func() bool {
		content, err := os.ReadFile(s.log)
		return err == nil && bytes.Contains(content, []byte(text))
	})
}

// tail returns the last 4 KiB of a file, or why it cannot be read.
func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-4096):])
}

// copyFile copies a file; the copy is readable by its owner alone.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, content, 0o600)
}

func writeFile(t testing.TB, path string, content []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
}

// lines joins the lines of a configuration file.
func lines(all ...string) []byte {
	var b bytes.Buffer
	for _, line := range all {
		fmt.Fprintln(&b, line)
	}
	return b.Bytes()
}
