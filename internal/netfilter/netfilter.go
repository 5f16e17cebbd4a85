// Package netfilter redirects a pod's connections to a proxy: what istio-init and linkerd-init do with iptables.
//
// It reads in this order. options.go is what may be asked for; plan.go turns it into a Ruleset (ruleset.go), which is
// data and the same for every back end; nfttext.go and restore.go print one as nft(8) and iptables-restore(8) read it. A
// Backend makes a Ruleset the kernel's, in one transaction: nft_linux.go over netlink, iptables_linux.go by the iptables
// tools; backend.go chooses between them. route_linux.go has what TPROXY needs of the routing tables. meshes.go knows
// whose rules others are, mark_linux.go lets slipway's own connections pass, verify_linux.go proves by connections that
// the redirect works.
//
// Rules of others are never touched: everything is in a table of our own (nft), or in chains of our own that the
// kernel's chains jump to (iptables).
package netfilter

// Marks of packets and connections. They mean something within the pod's network namespace alone: the kernel clears a
// packet's mark when it leaves through a veth (skb_scrub_packet).
const (
	// OwnMark is the mark of slipway's own connections, which no redirect of slipway's captures. Only a process with
	// NET_ADMIN can set it. It spells "slip".
	OwnMark = 0x736c6970
	// ProofMark is the mark of the connections by which Verify tries the inbound redirect from within the pod. It
	// spells "slpv".
	ProofMark = 0x736c7076
	// TProxyMark is the mark that TPROXY gives to what the proxy shall get, and that a proxy with a client's address
	// as its source (Envoy's original_src) gives to its packets. It is istio's.
	TProxyMark = 1337
	// SelfMark is the mark of the proxy's connections to the pod's own address, in TPROXY mode. It is istio's.
	SelfMark = 1338
	// TProxyTable is the routing table that delivers what has TProxyMark to the pod itself. It is istio's.
	TProxyTable = 133
)

// Conntrack zones that keep the two halves of a captured DNS query apart: the application's to the proxy, and the
// proxy's to the resolver. Without them both may have the same addresses and ports. They are istio's.
const (
	upstreamZone = 1
	clientZone   = 2
)

// TableName is the name of slipway's nft table, of the family inet: one table, and one transaction, for IPv4 and IPv6.
const TableName = "slipway"
