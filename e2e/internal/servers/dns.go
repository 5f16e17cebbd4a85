package servers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a DNS server, in this process, that knows IPv4 addresses by name. Only root can start one: the port is 53,
// because resolv.conf knows no other.
type DNS struct {
	ResolvConf string // a file to stand at /etc/resolv.conf

	mu        sync.Mutex
	addresses map[string][]netip.Addr
	failing   bool
	failed    int // queries
}

// StartDNS starts a DNS server that knows no name.
func StartDNS(t testing.TB) *DNS {
	t.Helper()
	d := &DNS{ResolvConf: filepath.Join(Dir(t), "resolv.conf"), addresses: make(map[string][]netip.Addr)}
	var conn net.PacketConn
	var address string
	err := errors.New("not tried")
	for i := 1; err != nil && i < 255; i++ { // another test may have one, too
		address = fmt.Sprint("127.53.0.", i)
		conn, err = net.ListenPacket("udp", net.JoinHostPort(address, "53"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.ResolvConf, lines("nameserver "+address, "options timeout:1 attempts:1"), 0o644); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.serve(conn)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-served
	})
	return d
}

// Set gives a name ("pods.test") the addresses; none means that the name does not exist.
func (d *DNS) Set(name string, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses[name+"."] = nil
	for _, address := range addresses {
		d.addresses[name+"."] = append(d.addresses[name+"."], netip.MustParseAddr(address))
	}
}

// Failed returns how many queries were answered with SERVFAIL. A look at a name is two of them, one for each family of
// addresses.
func (d *DNS) Failed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Fail makes the server answer SERVFAIL to everything, or not.
func (d *DNS) Fail(failing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = failing
}

func (d *DNS) serve(conn net.PacketConn) {
	query := make([]byte, 1500)
	for {
		n, client, err := conn.ReadFrom(query)
		if err != nil {
			return
		}
		if answer, ok := d.answer(query[:n]); ok {
			_, _ = conn.WriteTo(answer, client)
		}
	}
}

// answer returns the answer to one query; a query that cannot be read gets none.
func (d *DNS) answer(query []byte) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, false
	}
	question := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	known := d.addresses[question.Name.String()]
	switch {
	case d.failing:
		d.failed++
		m.RCode = dnsmessage.RCodeServerFailure
	case len(known) == 0:
		m.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		for _, address := range known {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: address.As4()},
			})
		}
	}
	answer, err := m.Pack()
	return answer, err == nil
}
