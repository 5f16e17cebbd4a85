package netfilter

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Range is a range of numbers, both ends included.
type Range[N ~uint16 | ~uint32] struct{ First, Last N }

// Ports is a range of TCP or UDP ports, IDs one of user or group ids.
type (
	Ports = Range[uint16]
	IDs   = Range[uint32]
)

// String returns the range as ParsePorts and ParseIDs read it: "80", "8000-8010".
func (r Range[N]) String() string { return r.text("-") }

func (r Range[N]) text(separator string) string {
	if r.First == r.Last {
		return strconv.FormatUint(uint64(r.First), 10)
	}
	return fmt.Sprintf("%d%s%d", r.First, separator, r.Last)
}

// ParsePorts parses a port from 1 to 65535, or a range of them: "80", "8000-8010".
func ParsePorts(text string) (Ports, error) {
	r, ok := parseRange[uint16](text, 16)
	if !ok || r.First == 0 {
		return Ports{}, fmt.Errorf("%q is not a port or a range of ports: write 80 or 8000-8010", text)
	}
	return r, nil
}

// ParseIDs parses a numeric user or group id, 0 included, or a range of them. Names are refused: what looks them up may
// ask a directory on the network, which the redirect is about to cut off (istio#48416).
func ParseIDs(text string) (IDs, error) {
	r, ok := parseRange[uint32](text, 32)
	if !ok || r.Last == 1<<32-1 { // which is nobody's: chown(2) takes it for "unchanged"
		return IDs{}, fmt.Errorf("%q is not a numeric id or a range of ids: write 1337 or 1000-1999", text)
	}
	return r, nil
}

func parseRange[N ~uint16 | ~uint32](text string, bits int) (Range[N], bool) {
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	first, err := strconv.ParseUint(from, 10, bits)
	last, err2 := strconv.ParseUint(to, 10, bits)
	if err != nil || err2 != nil || last < first {
		return Range[N]{}, false
	}
	return Range[N]{N(first), N(last)}, true
}

// merged returns the ranges in order, with those that overlap or touch made one: the kernel's interval sets take no
// others.
func merged[N ~uint16 | ~uint32](ranges []Range[N]) []Range[N] {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b Range[N]) int { return cmp.Compare(a.First, b.First) })
	var result []Range[N]
	for _, r := range sorted {
		if n := len(result); n > 0 && uint64(r.First) <= uint64(result[n-1].Last)+1 {
			result[n-1].Last = max(result[n-1].Last, r.Last)
			continue
		}
		result = append(result, r)
	}
	return result
}

// ParsePrefix parses an IPv4 or IPv6 network in CIDR form, or one address. Bits behind the prefix are cleared, as
// iptables does.
func ParsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	if err != nil || !prefix.IsValid() || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write 10.0.0.0/8, 2001:db8::/32 or one address", text)
	}
	return prefix.Masked(), nil
}

// distinct returns the networks in order, without those that lie in another one.
func distinct(prefixes []netip.Prefix) []netip.Prefix {
	sorted := slices.SortedFunc(slices.Values(prefixes), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var result []netip.Prefix
	for _, p := range sorted {
		if n := len(result); n > 0 && result[n-1].Overlaps(p) {
			continue // the one before is as long or longer, and begins before
		}
		result = append(result, p)
	}
	return result
}
