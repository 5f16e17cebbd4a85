package netfilter

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Privileged reports whether the process has NET_ADMIN, without which the kernel tells nothing of its rules and marks
// no connection. It costs one system call.
func Privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// Dialer returns a dialer whose connections, and whose DNS queries, have OwnMark: slipway's rules of an earlier run let
// them pass. Where that is not permitted they are like others.
func Dialer() *net.Dialer {
	plain := &net.Dialer{Control: mark(OwnMark)}
	marked := *plain
	marked.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return plain.DialContext(ctx, network, addr)
	}}
	return &marked
}

// mark returns what marks a socket before it is connected, if that is permitted.
func mark(value int) func(network, address string, conn syscall.RawConn) error {
	return func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, value)
		})
	}
}
