package pod

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a call may take before it is told as unanswered.
const patience = 3 * time.Second

func itoa(n int) string { return strconv.Itoa(n) }

// Answer has who answer on ports of a namespace, of all addresses and both families, by TCP and UDP: "who port". A proxy
// answers with where the caller wanted to go, as the kernel remembers it (SO_ORIGINAL_DST): "who 203.0.113.10:80".
type Answer struct {
	Who         string
	Ports       []int
	UID         int  // whose the sockets are
	Proxy       bool // says the original destination
	Transparent bool // takes connections to any address, as TPROXY needs it, and says that address
}

// Listen starts servers in the namespace. They end with the test.
func (n *Namespace) Listen(t testing.TB, answers ...Answer) {
	t.Helper()
	for _, a := range answers {
		for _, port := range a.Ports {
			if err := n.Do(a.UID, a.UID, func() error { return a.listen(t, port) }); err != nil {
				t.Fatalf("%s: listen on %d: %v", a.Who, port, err)
			}
		}
	}
}

func (a Answer) listen(t testing.TB, port int) error {
	for _, family := range []int{4, 6} {
		config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
			if a.Transparent {
				return transparent(family, conn)
			}
			return nil
		}}
		tcp, err := config.Listen(t.Context(), "tcp"+itoa(family), ":"+itoa(port))
		if err != nil {
			return err
		}
		var wait sync.WaitGroup
		t.Cleanup(func() {
			_ = tcp.Close()
			wait.Wait()
		})
		wait.Go(func() { a.serve(tcp.(*net.TCPListener), port) })
	}
	return a.listenUDP(t, port)
}

// listenUDP has a socket for each address: one for all of them would answer from the address that is nearest to the
// caller, which is not the one that was asked.
func (a Answer) listenUDP(t testing.TB, port int) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		ip := addr.(*net.IPNet).IP
		if ip.IsLinkLocalUnicast() {
			continue
		}
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port})
		if err != nil {
			return err
		}
		var wait sync.WaitGroup
		t.Cleanup(func() {
			_ = conn.Close()
			wait.Wait()
		})
		wait.Go(func() { a.echo(conn, port) })
	}
	return nil
}

// transparent lets a socket have addresses that are not the namespace's.
func transparent(family int, conn syscall.RawConn) (err error) {
	controlErr := conn.Control(func(fd uintptr) {
		if family == 6 {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)
		}
	})
	return errors.Join(err, controlErr)
}

// family returns 4 or 6.
func family(addr netip.Addr) int {
	if addr.Is4() {
		return 4
	}
	return 6
}

func (a Answer) serve(listener *net.TCPListener, port int) {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return
		}
		answer := a.Who + " " + itoa(port)
		switch {
		case a.Transparent:
			answer = a.Who + " " + conn.LocalAddr().String()
		case a.Proxy:
			answer = a.Who + " " + originalDestination(conn)
		}
		_, _ = fmt.Fprintln(conn, answer)
		_ = conn.Close()
	}
}

func (a Answer) echo(conn net.PacketConn, port int) {
	buffer := make([]byte, 64)
	for {
		_, peer, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo([]byte(a.Who+" "+itoa(port)), peer)
	}
}

// originalDestination returns where a connection led before it was redirected, or why that is not known.
func originalDestination(conn *net.TCPConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err.Error()
	}
	const soOriginalDst = 80 // of linux/netfilter_ipv4.h, and the same for IPv6
	var found netip.AddrPort
	controlErr := raw.Control(func(fd uintptr) {
		if conn.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
			// A struct sockaddr_in, in what is long enough for it.
			var name *unix.IPv6Mreq
			if name, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst); err == nil {
				b := name.Multiaddr
				found = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
			}
			return
		}
		var info *unix.IPv6MTUInfo
		if info, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, soOriginalDst); err == nil {
			port := make([]byte, 2)
			binary.NativeEndian.PutUint16(port, info.Addr.Port)
			found = netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), binary.BigEndian.Uint16(port))
		}
	})
	if err := errors.Join(err, controlErr); err != nil {
		return err.Error()
	}
	return found.String()
}

// Call is a connection, or a datagram, and whose it is.
type Call struct {
	UID, GID int
	Network  string     // "tcp" or "udp"; empty is tcp
	From     netip.Addr // what it is bound to; the zero Addr is the kernel's choice
	Mark     int        // of the socket, SO_MARK
	AnyFrom  bool       // From need not be an address of the namespace (IP_TRANSPARENT)
	To       netip.AddrPort
}

// Call returns who answered, or why nobody did.
func (n *Namespace) Call(c Call) string {
	var answer string
	err := n.Do(c.UID, c.GID, func() (err error) {
		answer, err = c.do()
		return err
	})
	switch {
	case err == nil:
		return answer
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.ECONNRESET):
		return "reset"
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return "unanswered"
	}
	return err.Error()
}

func (c Call) do() (string, error) {
	network := c.Network
	if network == "" {
		network = "tcp"
	}
	dialer := net.Dialer{Timeout: patience, Control: func(_, _ string, conn syscall.RawConn) (err error) {
		if c.AnyFrom {
			if err := transparent(family(c.To.Addr()), conn); err != nil {
				return err
			}
		}
		if c.Mark == 0 {
			return nil
		}
		controlErr := conn.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, c.Mark) })
		return errors.Join(err, controlErr)
	}}
	if c.From.IsValid() {
		if network == "udp" {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.From, 0))
		} else {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.From, 0))
		}
	}
	conn, err := dialer.Dial(network, c.To.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if network == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	answer := make([]byte, 128)
	length, err := conn.Read(answer)
	return strings.TrimSpace(string(answer[:length])), err
}
