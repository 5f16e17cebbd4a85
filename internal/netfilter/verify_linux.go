package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// Proof is what connections have shown of a redirect.
type Proof struct {
	Proved   []string // "IPv4 and IPv6: outbound, inbound"
	Untested []string // what could not be tried, with the reason: "IPv6: outbound: no route"
}

// How long a connection may take. One that is redirected is there at once, because both ends are here; one that passes
// leads nowhere and is given up soon.
const (
	arrival  = 2 * time.Second
	patience = 300 * time.Millisecond
)

// Verify opens connections and looks where they arrive, in both families: outbound ones as a user that is redirected,
// as the excluded ones, and to an excluded port; inbound ones through the same chain that the prerouting hook goes to,
// which the output hook goes to for ProofMark. It listens on the proxy's ports itself, so the proxy must not be up yet.
//
// A socket belongs to the user and the group that its thread had when it was made (setfsuid(2)), which needs SETUID and
// SETGID. What cannot be tried, for that or any other reason, is told and is no failure. What goes the wrong way is.
func Verify(ctx context.Context, o Options) (Proof, error) {
	v := &verifier{options: o}
	v.cases()
	outbound, outErr := listen(ctx, o.Outbound, false)
	defer outbound.close()
	inbound, inErr := outbound, outErr
	if o.Inbound != o.Outbound {
		inbound, inErr = listen(ctx, o.Inbound, o.TProxy)
		defer inbound.close()
	}

	var wait sync.WaitGroup
	for i := range v.list {
		c := &v.list[i]
		c.at = outbound
		err := outErr
		if c.inbound {
			c.at, err = inbound, inErr
		}
		if err != nil {
			c.untested = err
			continue
		}
		wait.Go(func() { c.try(ctx) })
	}
	wait.Wait()
	if ctx.Err() != nil {
		return Proof{}, context.Cause(ctx)
	}
	return v.result()
}

// attempt is one connection to try.
type attempt struct {
	name     string
	family   family
	inbound  bool           // through the inbound chain
	target   netip.AddrPort // where it leads
	uid, gid int            // whose it is; -1 is the process's own
	mark     int
	redirect bool // whether the proxy shall get it

	at       *listener
	untested error // why it could not be tried
	wrong    error // what went wrong
}

type verifier struct {
	options Options
	list    []attempt
}

// cases makes the list of what is to be tried.
func (v *verifier) cases() {
	o := v.options
	uid, gid := stranger(o.ProxyUIDs, os.Geteuid()), stranger(o.ProxyGIDs, os.Getegid())
	for _, f := range []family{ipv4, ipv6} {
		add := func(name string, change func(*attempt)) {
			a := attempt{name: name, family: f, uid: uid, gid: gid, redirect: true}
			change(&a)
			v.list = append(v.list, a)
		}
		if target, ok := o.outboundTarget(f); ok && o.Outbound != 0 {
			add("outbound", func(a *attempt) { a.target = target })
			for _, ids := range firstOf(o.ProxyUIDs) {
				add(fmt.Sprintf("excluded uid %d", ids.First), func(a *attempt) { a.target, a.uid, a.redirect = target, int(ids.First), false })
			}
			for _, ids := range firstOf(o.ProxyGIDs) {
				add(fmt.Sprintf("excluded gid %d", ids.First), func(a *attempt) { a.target, a.gid, a.redirect = target, int(ids.First), false })
			}
			add("own mark", func(a *attempt) { a.target, a.mark, a.redirect = target, OwnMark, false })
			if len(o.ExcludeOutbound) > 0 {
				port := o.ExcludeOutbound[0].First
				add(fmt.Sprintf("excluded outbound port %d", port), func(a *attempt) {
					a.target, a.redirect = netip.AddrPortFrom(target.Addr(), port), false
				})
			}
		}
		if o.Inbound == 0 {
			continue
		}
		to := nowhere(f)
		if o.TProxy {
			to = ownAddress(f)
		}
		if port, ok := unlisted(o.IncludeInbound, o.ExcludeInbound); ok && to.IsValid() {
			add("inbound", func(a *attempt) { a.inbound, a.mark, a.target = true, ProofMark, netip.AddrPortFrom(to, port) })
		}
		if len(o.ExcludeInbound) > 0 && to.IsValid() {
			port := o.ExcludeInbound[0].First
			add(fmt.Sprintf("excluded inbound port %d", port), func(a *attempt) {
				a.inbound, a.mark, a.target, a.redirect = true, ProofMark, netip.AddrPortFrom(to, port), false
			})
		}
	}
}

// firstOf returns as many ranges as are tried.
func firstOf(ids []IDs) []IDs { return ids[:min(len(ids), 4)] }

// stranger returns an id that is not in the list: the own one, if it is not.
func stranger(ids []IDs, own int) int {
	in := func(id int) bool {
		return slices.ContainsFunc(ids, func(r IDs) bool { return int(r.First) <= id && id <= int(r.Last) })
	}
	if !in(own) {
		return -1
	}
	id := 65534
	for in(id) {
		id--
	}
	return id
}

// outboundTarget returns where a connection leads that is to be redirected.
func (o Options) outboundTarget(f family) (netip.AddrPort, bool) {
	addr := nowhere(f)
	included := f.of(o.IncludeDestinations)
	port, ok := unlisted(nil, o.ExcludeOutbound)
	switch {
	case len(included) > 0:
		addr = lastOf(included[0])
	case len(o.IncludeOutbound) > 0:
		port, ok = unlisted(o.IncludeOutbound, o.ExcludeOutbound)
	case len(o.IncludeDestinations) > 0:
		return netip.AddrPort{}, false // networks of the other family alone
	}
	if slices.ContainsFunc(o.ExcludeDestinations, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr, port), ok
}

// unlisted returns a port that is included and not excluded; nothing included is all.
func unlisted(include, exclude []Ports) (uint16, bool) {
	if len(include) == 0 {
		include = []Ports{{8080, 65535}, {1, 8079}}
	}
	excluded := func(port uint16) *Ports {
		for i := range exclude {
			if exclude[i].First <= port && port <= exclude[i].Last {
				return &exclude[i]
			}
		}
		return nil
	}
	for _, r := range include {
		for port := uint32(r.First); port <= uint32(r.Last); {
			hit := excluded(uint16(port))
			if hit == nil {
				return uint16(port), true
			}
			port = uint32(hit.Last) + 1
		}
	}
	return 0, false
}

// ownAddress returns an address of the pod that is not loopback's, the zero Addr if it has none.
func ownAddress(f family) netip.Addr {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, _ := netip.AddrFromSlice(n.IP)
		if addr = addr.Unmap(); addr.IsGlobalUnicast() && f.holds(addr) && addr != istioSource6 {
			return addr
		}
	}
	return netip.Addr{}
}

// try opens the connection as its owner and sees whether the listener gets it.
func (a *attempt) try(ctx context.Context) {
	limit := arrival
	if !a.redirect {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var local netip.AddrPort
	var marking, err error
	owned := as(a.uid, a.gid, func() {
		dialer := net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
			return conn.Control(func(fd uintptr) {
				if a.mark != 0 {
					marking = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, a.mark)
				}
			})
		}}
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, "tcp", a.target.String()); err == nil {
			local, _ = netip.ParseAddrPort(conn.LocalAddr().String())
			_ = conn.Close()
		}
	})
	switch {
	case owned != nil:
		a.untested = owned
	case marking != nil:
		a.untested = fmt.Errorf("mark a connection: %w", marking)
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EADDRNOTAVAIL) || (a.redirect && errors.Is(err, unix.EHOSTUNREACH)):
		a.untested = errors.New("no route") // for one that passes, EHOSTUNREACH may be a router's answer
	case a.redirect && err != nil:
		a.wrong = fmt.Errorf("did not arrive: %w", err)
	case a.redirect && !a.at.got(ctx, local):
		a.wrong = errors.New("arrived elsewhere")
	case !a.redirect && err == nil && a.at.got(ctx, local):
		a.wrong = errors.New("went to the proxy")
	}
}

// as runs f on a thread whose sockets belong to the given user and group, -1 for the process's own. The thread ends with
// it.
func as(uid, gid int, f func()) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread with the goroutine
		if gid >= 0 {
			_ = unix.Setfsgid(gid)
			if is, _ := unix.SetfsgidRetGid(-1); is != gid {
				result <- errors.New("no capability SETGID")
				return
			}
		}
		if uid >= 0 {
			_ = unix.Setfsuid(uid)
			if is, _ := unix.SetfsuidRetUid(-1); is != uid {
				result <- errors.New("no capability SETUID")
				return
			}
		}
		f()
		result <- nil
	}()
	return <-result
}

// listener stands in for the proxy and remembers whose connections it got.
type listener struct {
	sockets []net.Listener
	mu      sync.Mutex
	peers   map[netip.AddrPort]bool
	news    chan struct{} // closed and renewed by each arrival
	wait    sync.WaitGroup
}

// listen listens on a port in both families; nil if the port is 0.
func listen(ctx context.Context, port uint16, transparent bool) (*listener, error) {
	if port == 0 {
		return nil, nil
	}
	l := &listener{peers: make(map[netip.AddrPort]bool), news: make(chan struct{})}
	config := net.ListenConfig{Control: func(network, _ string, conn syscall.RawConn) (err error) {
		if !transparent {
			return nil
		}
		controlErr := conn.Control(func(fd uintptr) {
			if strings.HasSuffix(network, "6") {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)
			}
		})
		return errors.Join(err, controlErr)
	}}
	for _, network := range []string{"tcp4", "tcp6"} {
		if network == "tcp6" && !hasIPv6() {
			break
		}
		socket, err := config.Listen(ctx, network, fmt.Sprintf(":%d", port))
		if err != nil {
			l.close()
			if errors.Is(err, unix.EADDRINUSE) {
				return nil, fmt.Errorf("port %d is taken: the proxy is up", port)
			}
			return nil, fmt.Errorf("listen on port %d: %w", port, err)
		}
		l.sockets = append(l.sockets, socket)
		l.wait.Go(func() { l.accept(socket) })
	}
	return l, nil
}

func (l *listener) accept(socket net.Listener) {
	for {
		conn, err := socket.Accept()
		if err != nil {
			return
		}
		peer, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		_ = conn.Close()
		l.mu.Lock()
		l.peers[peer] = true
		close(l.news)
		l.news = make(chan struct{})
		l.mu.Unlock()
	}
}

// got reports whether the listener got the connection of that address, for which it waits as long as ctx.
func (l *listener) got(ctx context.Context, peer netip.AddrPort) bool {
	for {
		l.mu.Lock()
		got, news := l.peers[peer], l.news
		l.mu.Unlock()
		if got {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

func (l *listener) close() {
	if l == nil {
		return
	}
	for _, socket := range l.sockets {
		_ = socket.Close()
	}
	l.wait.Wait()
}

// result sums up what was tried.
func (v *verifier) result() (Proof, error) {
	var wrong []string
	proved, untested := newSummary(), newSummary()
	for _, a := range v.list {
		switch {
		case a.untested != nil:
			untested.add(a.family, a.name, a.untested.Error())
		case a.wrong != nil:
			wrong = append(wrong, fmt.Sprintf("%s IPv%d (%s): %v", a.name, a.family, a.target, a.wrong))
		default:
			proved.add(a.family, a.name, "")
		}
	}
	proof := Proof{Proved: proved.lines(), Untested: untested.lines()}
	if len(wrong) > 0 {
		return proof, fault.Hint(fault.New(fault.Conflict, "the rules are set, but connections go elsewhere: %s", strings.Join(wrong, "; ")),
			"something decides before slipway: look at nft list ruleset and iptables-save in the pod's network namespace")
	}
	return proof, nil
}

// summary tells many attempts in few words: those of the same families and the same outcome stand together.
type summary struct {
	order    []note
	families map[note]string
}

type note struct{ name, outcome string }

func newSummary() *summary { return &summary{families: make(map[note]string)} }

func (s *summary) add(f family, name, outcome string) {
	n := note{name, outcome}
	if s.families[n] != "" {
		s.families[n] += " and "
	} else {
		s.order = append(s.order, n)
	}
	s.families[n] += fmt.Sprintf("IPv%d", f)
}

func (s *summary) lines() []string {
	var heads []note // families and outcome
	names := make(map[note][]string)
	for _, n := range s.order {
		head := note{s.families[n], n.outcome}
		if names[head] == nil {
			heads = append(heads, head)
		}
		names[head] = append(names[head], n.name)
	}
	var lines []string
	for _, head := range heads {
		line := head.name + ": " + strings.Join(names[head], ", ")
		if head.outcome != "" {
			line += ": " + head.outcome
		}
		lines = append(lines, line)
	}
	return lines
}
