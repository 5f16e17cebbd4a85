package netfilter

import (
	"errors"
	"net/netip"
	"os"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// istioSource6 is the IPv6 address that istio's proxy binds to; Remove takes it away again.
var istioSource6 = netip.MustParseAddr("::6")

// setRoutes makes the routing tables what a ruleset needs: for TPROXY a rule and a route that deliver packets with
// TProxyMark here, as "ip rule add fwmark 1337 lookup 133" and "ip route add local default dev lo table 133" do, and the
// proxy's IPv6 addresses on the loopback interface. An empty ruleset takes all of it away.
func setRoutes(want Ruleset) error {
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return routeFault(err, "open a netlink socket")
	}
	defer func() { _ = conn.Close() }()
	for _, f := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if f == unix.AF_INET6 && !hasIPv6() {
			break
		}
		if err := setPolicy(conn, f, want.Policy); err != nil {
			return err
		}
	}
	if !hasIPv6() {
		return nil
	}
	for _, addr := range want.Addresses {
		if err := conn.Address.New(address(addr)); err != nil && !errors.Is(err, unix.EEXIST) {
			return routeFault(err, "add "+addr.String()+" to lo")
		}
	}
	if len(want.Chains) == 0 {
		if err := conn.Address.Delete(address(istioSource6)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return routeFault(err, "remove "+istioSource6.String()+" from lo")
		}
	}
	return nil
}

// setPolicy adds or removes rule and route of one family.
func setPolicy(conn *rtnetlink.Conn, f uint8, want bool) error {
	table, mark, priority := uint32(TProxyTable), uint32(TProxyMark), uint32(rulePriority)
	rule := &rtnetlink.RuleMessage{
		Family: f, Table: TProxyTable, Action: unix.FR_ACT_TO_TBL,
		Attributes: &rtnetlink.RuleAttributes{Table: &table, FwMark: &mark, Priority: &priority},
	}
	route := &rtnetlink.RouteMessage{
		Family: f, Table: TProxyTable, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Protocol: unix.RTPROT_BOOT,
		Attributes: rtnetlink.RouteAttributes{OutIface: loopbackIndex, Table: table},
	}
	if !want {
		if err := conn.Rule.Delete(rule); err != nil && !errors.Is(err, unix.ENOENT) {
			return routeFault(err, "remove the routing rule")
		}
		if err := conn.Route.Delete(route); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
			return routeFault(err, "remove the route")
		}
		return nil
	}
	if err := conn.Route.Replace(route); err != nil {
		return routeFault(err, "add the route")
	}
	if err := conn.Rule.Add(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return routeFault(err, "add the routing rule")
	}
	return nil
}

// loopbackIndex is the index of lo, the first interface of every network namespace.
const loopbackIndex = 1

// address is one of lo's. Nobody else can have it, so it is usable at once, without a look for duplicates.
func address(addr netip.Addr) *rtnetlink.AddressMessage {
	return &rtnetlink.AddressMessage{
		Family: unix.AF_INET6, PrefixLength: 128, Scope: unix.RT_SCOPE_HOST, Index: loopbackIndex,
		Attributes: &rtnetlink.AddressAttributes{Address: addr.AsSlice(), Local: addr.AsSlice(), Flags: unix.IFA_F_NODAD},
	}
}

// hasIPv6 reports whether the loopback interface has IPv6: the kernel may lack it, or it may be switched off.
func hasIPv6() bool {
	disabled, err := os.ReadFile("/proc/self/net/if_inet6")
	return err == nil && len(disabled) > 0
}

func routeFault(err error, doing string) error {
	err = nftFault(err, doing)
	if fault.KindOf(err) == fault.Unsupported {
		return fault.Hint(err, "the node's kernel needs policy routing: CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES")
	}
	return err
}
