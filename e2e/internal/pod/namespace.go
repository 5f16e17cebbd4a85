// Package pod is a pod's network without a cluster: two network namespaces of the test's own, joined by a veth pair, in
// both families. One is the pod's, with its application and its proxy; the other is everybody else. Who connects can be
// any user, and what answers says who it is.
//
// The namespaces have no names and end with the test. That a namespace is not the machine's own is checked before
// anything is done in it.
package pod

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace.
type Namespace struct{ file *os.File }

// threadNamespace is the network namespace of the calling thread.
const threadNamespace = "/proc/thread-self/ns/net"

// newNamespace returns a fresh namespace, which lives as long as the test.
func newNamespace(t testing.TB) *Namespace {
	t.Helper()
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		var file *os.File
		if err == nil {
			file, err = os.Open(threadNamespace)
		}
		made <- result{file, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatalf("make a network namespace: %v", r.err)
	}
	t.Cleanup(func() { _ = r.file.Close() })
	n := &Namespace{r.file}
	if err := n.foreign(); err != nil {
		t.Fatal(err)
	}
	return n
}

// foreign returns an error if the namespace is the machine's own.
func (n *Namespace) foreign() error {
	here, err := n.file.Stat()
	host, err2 := machine()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if os.SameFile(here, host) {
		return errors.New("the namespace is the machine's own")
	}
	return nil
}

// machine returns the machine's own namespace: that of process 1, or where that is not to be seen, that of who started
// the tests.
func machine() (os.FileInfo, error) {
	host, err := os.Stat("/proc/1/ns/net")
	if errors.Is(err, os.ErrPermission) {
		return os.Stat(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
	}
	return host, err
}

// Enter calls f on a thread in the namespace: sockets that it makes and processes that it starts are there.
func (n *Namespace) Enter(t testing.TB, f func()) {
	t.Helper()
	runtime.LockOSThread()
	outside, err := os.Open(threadNamespace)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if err := n.set(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setns(int(outside.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // and no unlocking: nothing else may run on this thread
		}
		runtime.UnlockOSThread()
	}()
	f()
}

// set moves the calling thread, which must be locked, into the namespace.
func (n *Namespace) set() error {
	if err := n.foreign(); err != nil {
		return err
	}
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

// Do calls f as Enter does, on a thread of its own, with sockets that belong to the given user and group; f may be
// called from any goroutine.
func (n *Namespace) Do(uid, gid int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := n.set(); err != nil {
			done <- err
			return
		}
		// Who owns a socket is the file system's user and group of the thread that made it.
		_ = unix.Setfsgid(gid)
		_ = unix.Setfsuid(uid)
		done <- f()
	}()
	return <-done
}
