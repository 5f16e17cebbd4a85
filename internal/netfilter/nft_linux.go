package netfilter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// nft is the back end that speaks to nf_tables over netlink: no binary, one table for both families, one transaction.
//
// A second run does not make the table anew but empties and fills the chains that are there. A packet sees the rules of
// one generation while it is in a chain, but it may meet two chains in two generations: were a new chain put in the
// place of an old one, a packet could pass the new one before the change and the old one after it, and escape.
type nft struct {
	options []nftables.ConnOption // for tests: another end of the socket
}

func (*nft) Name() string { return "nft" }

// dial opens the socket. Its buffers hold a whole transaction, and the kernel's answers to it, which come at once.
func (n *nft) dial() (*nftables.Conn, error) {
	const buffer = 4 << 20
	grow := nftables.WithSockOptions(func(c *netlink.Conn) error {
		_, _ = c.SetReadBuffer(buffer), c.SetWriteBuffer(buffer) // as much as may be: too little fails with ENOBUFS or EMSGSIZE
		return nil
	})
	conn, err := nftables.New(append([]nftables.ConnOption{nftables.AsLasting(), grow}, n.options...)...)
	return conn, nftFault(err, "open a netlink socket")
}

// probe asks whether the kernel has nf_tables, and lets this process look at them.
func (n *nft) probe() error {
	conn, err := n.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	_, err = conn.ListTablesOfFamily(nftables.TableFamilyINet)
	return nftFault(err, "list the nf_tables")
}

// nftState is what the kernel has of slipway's table.
type nftState struct {
	table  bool
	chains []*nftables.Chain
	rules  map[string][]string // comments by chain
}

func (n *nft) read(conn *nftables.Conn) (nftState, error) {
	state := nftState{rules: make(map[string][]string)}
	found, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return state, nftFault(err, "list the nf_tables")
	}
	for _, t := range found {
		state.table = state.table || t.Name == TableName
	}
	if !state.table {
		return state, nil
	}
	listed, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return state, nftFault(err, "list the chains of nf_tables")
	}
	for _, c := range listed {
		if c.Table.Name != TableName {
			continue
		}
		c.Table.Family = nftables.TableFamilyINet
		state.chains = append(state.chains, c)
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return state, nftFault(err, "list the rules of nf_tables")
		}
		for _, r := range rules {
			state.rules[c.Name] = append(state.rules[c.Name], commentOf(r))
		}
	}
	return state, nil
}

// commentOf returns a rule's comment, "" if it has none.
func commentOf(r *nftables.Rule) string {
	if len(r.UserData) < 2 || len(r.UserData) < 2+int(r.UserData[1]) {
		return ""
	}
	return string(bytes.TrimRight(userdata.Get(r.UserData, userdata.TypeComment), "\x00"))
}

// changes returns what tells the kernel's rules from the wanted ones, a line each.
func (s nftState) changes(want Ruleset) []string {
	var lines []string
	wanted := make(map[string]bool)
	for _, c := range want.Chains {
		name := nftName(c.Table, c.Name)
		wanted[name] = true
		is := slices.IndexFunc(s.chains, func(have *nftables.Chain) bool { return have.Name == name })
		if is < 0 || !sameHook(s.chains[is], c) {
			lines = append(lines, "+ chain "+name)
		}
		var comments, texts []string
		for _, r := range c.nftRules() {
			comments, texts = append(comments, r.comment()), append(texts, r.text)
		}
		lines = append(lines, listChanges(name, s.rules[name], comments, texts)...)
	}
	for _, c := range s.chains {
		if !wanted[c.Name] {
			lines = append(lines, "- chain "+c.Name)
			lines = append(lines, listChanges(c.Name, s.rules[c.Name], nil, nil)...)
		}
	}
	return lines
}

// Diff implements Backend.
func (n *nft) Diff(_ context.Context, want Ruleset) ([]string, error) {
	conn, err := n.dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseLasting() }()
	state, err := n.read(conn)
	if err != nil {
		return nil, err
	}
	return state.changes(want), nil
}

// Apply implements Backend.
func (n *nft) Apply(_ context.Context, want Ruleset) (changed bool, err error) {
	conn, err := n.dial()
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.CloseLasting() }()
	state, err := n.read(conn)
	if err != nil || len(state.changes(want)) == 0 {
		return false, err
	}
	table := &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}
	if len(want.Chains) == 0 {
		conn.DelTable(table)
		return true, nftFault(conn.Flush(), "remove the rules from nf_tables")
	}
	conn.AddTable(table)
	conn.FlushTable(table)
	for _, have := range state.chains {
		if !slices.ContainsFunc(want.Chains, func(c Chain) bool { return nftName(c.Table, c.Name) == have.Name && sameHook(have, c) }) {
			conn.DelChain(have)
		}
	}
	chains := make([]*nftables.Chain, len(want.Chains))
	for i, c := range want.Chains {
		chains[i] = conn.AddChain(newChain(table, c))
	}
	for i, c := range want.Chains {
		for _, r := range c.nftRules() {
			if err := addRule(conn, table, chains[i], r); err != nil {
				return false, fault.New(fault.Internal, "%s: %w", r.text, err)
			}
		}
	}
	return true, nftFault(conn.Flush(), "set the rules of nf_tables")
}

// newChain returns a chain as the kernel shall have it.
func newChain(table *nftables.Table, c Chain) *nftables.Chain {
	chain := &nftables.Chain{Name: nftName(c.Table, c.Name), Table: table}
	if c.Hook != NoHook {
		accept := nftables.ChainPolicyAccept
		chain.Type, chain.Policy = nftables.ChainType(c.nftType()), &accept
		chain.Hooknum = nftables.ChainHookRef(map[Hook]nftables.ChainHook{Prerouting: unix.NF_INET_PRE_ROUTING, Output: unix.NF_INET_LOCAL_OUT}[c.Hook])
		chain.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(priorities[c.Table]))
	}
	return chain
}

// sameHook reports whether the kernel enters a chain where it should.
func sameHook(have *nftables.Chain, c Chain) bool {
	want := newChain(nil, c)
	if have.Hooknum == nil || want.Hooknum == nil {
		return have.Hooknum == nil && want.Hooknum == nil
	}
	return *have.Hooknum == *want.Hooknum && have.Priority != nil && *have.Priority == *want.Priority && have.Type == want.Type
}

// addRule adds a rule, and the sets that it looks into, to the transaction.
func addRule(conn *nftables.Conn, table *nftables.Table, chain *nftables.Chain, r nftRule) error {
	c := compiler{conn: conn, table: table}
	c.rule(r)
	if c.err != nil {
		return c.err
	}
	conn.AddRule(&nftables.Rule{
		Table: table, Chain: chain, Exprs: c.exprs,
		UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment()),
	})
	return nil
}

// compiler turns a rule into the kernel's expressions, which work on registers.
type compiler struct {
	conn  *nftables.Conn
	table *nftables.Table
	exprs []expr.Any
	err   error
}

func (c *compiler) add(exprs ...expr.Any) { c.exprs = append(c.exprs, exprs...) }

func (c *compiler) rule(r nftRule) {
	switch r.family {
	case ipv4:
		c.meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4})
	case ipv6:
		c.meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV6})
	}
	c.iface(expr.MetaKeyIIFNAME, r.In)
	c.iface(expr.MetaKeyOIFNAME, r.Out)
	c.addresses(r.family, true, r.Sources, false)
	c.addresses(r.family, false, r.Destinations, false)
	c.addresses(r.family, false, r.NotDestinations, true)
	switch r.Protocol {
	case TCP:
		c.meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_TCP})
	case UDP:
		c.meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_UDP})
	}
	c.ports(0, r.SourcePorts)
	c.ports(2, r.Ports)
	c.ids(expr.MetaKeySKUID, nftables.TypeUID, r.UIDs)
	c.ids(expr.MetaKeySKGID, nftables.TypeGID, r.GIDs)
	if r.Mark != 0 {
		c.meta(expr.MetaKeyMARK, expr.CmpOpEq, native32(r.Mark))
	}
	if r.NotMark != 0 {
		c.meta(expr.MetaKeyMARK, expr.CmpOpNeq, native32(r.NotMark))
	}
	if r.ConnMark != 0 {
		c.add(&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: native32(r.ConnMark)})
	}
	switch r.State {
	case Invalid:
		c.state(expr.CtStateBitINVALID)
	case Established:
		c.state(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	}
	c.verdict(r)
}

// meta compares what the kernel knows of a packet.
func (c *compiler) meta(key expr.MetaKey, op expr.CmpOp, data []byte) {
	c.add(&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data})
}

// iface compares an interface's name: all 16 bytes of it, or the first ones.
func (c *compiler) iface(key expr.MetaKey, name string) {
	if name == "" {
		return
	}
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	if name[len(name)-1] == '+' {
		data = []byte(name[:len(name)-1])
	}
	c.meta(key, expr.CmpOpEq, data)
}

func (c *compiler) addresses(f family, source bool, prefixes []netip.Prefix, invert bool) {
	if len(prefixes) == 0 {
		return
	}
	offsets, length, kind := [2]uint32{16, 12}, uint32(4), nftables.TypeIPAddr
	if f == ipv6 {
		offsets, length, kind = [2]uint32{24, 8}, 16, nftables.TypeIP6Addr
	}
	offset := offsets[0]
	if source {
		offset = offsets[1]
	}
	c.add(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length})
	c.lookup(kind, networkElements(prefixes), invert)
}

func (c *compiler) ports(offset uint32, ranges []Ports) {
	if len(ranges) == 0 {
		return
	}
	c.add(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2})
	var elements []nftables.SetElement
	for _, r := range ranges {
		elements = append(elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, r.First)})
		if r.Last < 1<<16-1 {
			elements = append(elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, r.Last+1), IntervalEnd: true})
		}
	}
	c.lookup(nftables.TypeInetService, elements, false)
}

// ids looks up who owns the socket. The kernel has ids in its own byte order, which does not sort.
func (c *compiler) ids(key expr.MetaKey, kind nftables.SetDatatype, ranges []IDs) {
	if len(ranges) == 0 {
		return
	}
	c.add(&expr.Meta{Key: key, Register: 1}, &expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4})
	var elements []nftables.SetElement
	for _, r := range ranges {
		elements = append(elements,
			nftables.SetElement{Key: binary.BigEndian.AppendUint32(nil, r.First)},
			nftables.SetElement{Key: binary.BigEndian.AppendUint32(nil, r.Last+1), IntervalEnd: true}) // no id is 2^32-1
	}
	c.lookup(kind, elements, false)
}

// networkElements returns networks, which are in order and distinct, as intervals; those that touch are one.
func networkElements(prefixes []netip.Prefix) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, p := range prefixes {
		first, end := p.Addr().AsSlice(), lastOf(p).Next()
		if n := len(elements); n > 0 && bytes.Equal(elements[n-1].Key, first) {
			elements = elements[:n-1]
		} else {
			elements = append(elements, nftables.SetElement{Key: first})
		}
		if end.IsValid() {
			elements = append(elements, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return elements
}

// lastOf returns the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	bits := p.Addr().AsSlice()
	for i := p.Bits(); i < len(bits)*8; i++ {
		bits[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(bits)
	return last
}

// lookup looks register 1 up in a set of intervals that belongs to the rule.
func (c *compiler) lookup(kind nftables.SetDatatype, elements []nftables.SetElement, invert bool) {
	set := &nftables.Set{Table: c.table, Anonymous: true, Constant: true, Interval: true, KeyType: kind}
	if err := c.conn.AddSet(set, elements); err != nil {
		c.err = errors.Join(c.err, err)
		return
	}
	c.add(&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: invert})
}

// state tests bits of what conntrack knows.
func (c *compiler) state(bits uint32) {
	c.add(
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(bits), Xor: native32(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native32(0)},
	)
}

func (c *compiler) verdict(r nftRule) {
	v := r.Verdict
	switch v.Action {
	case Return:
		c.add(&expr.Verdict{Kind: expr.VerdictReturn})
	case Accept:
		c.add(&expr.Verdict{Kind: expr.VerdictAccept})
	case Drop:
		c.add(&expr.Verdict{Kind: expr.VerdictDrop})
	case Goto:
		c.add(&expr.Verdict{Kind: expr.VerdictGoto, Chain: nftName(r.table, v.Chain)})
	case Redirect:
		c.add(&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, v.Port)}, &expr.Redir{RegisterProtoMin: 1})
	case TProxy:
		c.add(&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, v.Port)},
			&expr.TProxy{Family: map[family]byte{ipv4: unix.NFPROTO_IPV4, ipv6: unix.NFPROTO_IPV6}[r.family], TableFamily: byte(nftables.TableFamilyINet), RegPort: 1})
		c.setMark(TProxyMark)
		c.add(&expr.Verdict{Kind: expr.VerdictAccept})
	case SetMark:
		c.setMark(v.Value)
	case SaveMark:
		c.add(&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, &expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true})
	case RestoreMark:
		c.add(&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true})
	case SetZone:
		c.add(&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint16(nil, uint16(v.Value))},
			&expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true})
	}
}

func (c *compiler) setMark(mark uint32) {
	c.add(&expr.Immediate{Register: 1, Data: native32(mark)}, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true})
}

func native32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// nftFault says what the kernel's answer means.
func nftFault(err error, doing string) error {
	var errno unix.Errno
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &errno):
		return fault.New(fault.Internal, "%s: %w", doing, err)
	}
	// A transaction has an answer for each of its messages; the first one says it.
	err = fmt.Errorf("%s: %w", doing, errno)
	switch errno {
	case unix.EPERM, unix.EACCES:
		return fault.Hint(fault.As(fault.Permission, err), "%s", needNetAdmin)
	case unix.ENOBUFS, unix.ENOMEM, unix.EBUSY, unix.EAGAIN, unix.EINTR:
		return fault.As(fault.Temporary, err)
	}
	return fault.Hint(fault.As(fault.Unsupported, err),
		"the node needs Linux 5.2 with nf_tables, nft_chain_nat, nft_redir, nft_ct, nft_tproxy; --backend iptables-legacy needs none of them")
}

// needNetAdmin is the hint for who lacks the capability.
const needNetAdmin = "add NET_ADMIN to securityContext.capabilities.add, with runAsUser: 0: Kubernetes gives it to no other user"
