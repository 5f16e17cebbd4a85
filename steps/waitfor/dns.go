package waitfor

import (
	"context"
	"strconv"

	"github.com/slipway-init/slipway/internal/fault"
)

// dnsQuery holds what a dns target may ask for: ?min=3, ?type=srv.
var dnsQuery = map[string]func(string) bool{
	"min":  func(v string) bool { n, err := strconv.ParseUint(v, 10, 16); return err == nil && n > 0 },
	"type": func(v string) bool { return v == "ip" || v == "srv" },
}

// lookDNS resolves the name as an application in this pod would, search domains included, and counts what it finds.
func lookDNS(ctx context.Context, e *eye, t target) error {
	want := e.minAddresses
	if given := t.Query().Get("min"); given != "" {
		want, _ = strconv.Atoi(given) // checked by dnsQuery
	}
	count, thing := e.countAddresses, "addresses"
	if t.Query().Get("type") == "srv" {
		count, thing = e.countServices, "SRV records"
	}
	found, err := count(ctx, t.host())
	if err != nil {
		return err
	}
	if found < want {
		return gone("%d of %d %s", found, want, thing)
	}
	return nil
}

// countAddresses counts the addresses of the family that has more: a pod with one of each is one pod.
func (e *eye) countAddresses(ctx context.Context, name string) (int, error) {
	addresses, err := e.resolver().LookupNetIP(ctx, "ip", name)
	var v4, v6 int
	for _, a := range addresses {
		if a.Unmap().Is4() {
			v4++
		} else {
			v6++
		}
	}
	return max(v4, v6), err
}

// countServices counts the SRV records of a name such as _db._tcp.postgres.default.svc.cluster.local.
func (e *eye) countServices(ctx context.Context, name string) (int, error) {
	_, records, err := e.resolver().LookupSRV(ctx, "", "", name)
	if err != nil && len(records) > 0 { // records with malformed names are left out, and told of
		return 0, fault.New(fault.Unavailable, "look up %s: %s", name, err)
	}
	return len(records), err
}
