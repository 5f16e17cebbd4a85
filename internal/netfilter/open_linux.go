package netfilter

import (
	"context"
	"fmt"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Open returns the back end of that name, and for "auto" the one that works here, with the reason.
func Open(env *step.Env, name string) (Backend, string, error) {
	return open(env, name, &nft{})
}

func open(env *step.Env, name string, netlink *nft) (Backend, string, error) {
	switch name {
	case "auto":
	case "nft":
		return netlink, "it was asked for", nil
	default:
		return newIPTables(env, name), "it was asked for", nil
	}
	err := netlink.probe()
	if err == nil {
		return netlink, "the kernel has nf_tables", nil
	}
	if fault.KindOf(err) != fault.Unsupported {
		return nil, "", err
	}
	for _, candidate := range []string{"iptables-legacy", "iptables"} {
		tools := newIPTables(env, candidate)
		if tools.probe(ipv4) == nil {
			return tools, fmt.Sprintf("the kernel has no nf_tables (%v)", err), nil
		}
	}
	return nil, "", err
}

// Apply makes a ruleset the kernel's by a back end, with the routes that it needs, and reports whether there was anything
// to change. Rules of another mesh, or of slipway by another back end, are a conflict.
func Apply(ctx context.Context, b Backend, want Ruleset) (changed bool, err error) {
	// What cannot be seen, because the kernel lacks it or tells root alone, is no conflict.
	found, _ := detect(&nft{})
	if err := conflict(b.Name(), found); err != nil {
		return false, err
	}
	// Routes come first and go last: without them TPROXY would lose packets.
	if want.Policy || len(want.Addresses) > 0 {
		if err := setRoutes(want); err != nil {
			return false, err
		}
	}
	changed, err = b.Apply(ctx, want)
	if err == nil && changed && !want.Policy {
		err = setRoutes(want)
	}
	return changed, err
}

// Remove takes away all that Apply has set by a back end, and for "auto" by whichever it was. It reports whether there
// was anything.
func Remove(ctx context.Context, env *step.Env, name string) (changed bool, err error) {
	names := []string{name}
	if name == "auto" {
		if names, err = users(); err != nil {
			return false, err
		}
	}
	for _, name := range names {
		b, _, err := Open(env, name)
		if err != nil {
			return changed, err
		}
		one, err := b.Apply(ctx, Ruleset{})
		changed = changed || one
		if err != nil {
			return changed, err
		}
	}
	return changed, setRoutes(Ruleset{})
}

// users returns the back ends whose rules are there.
func users() ([]string, error) {
	f, err := detect(&nft{})
	if err != nil && !f.legacyChains {
		return nil, err
	}
	var names []string
	if f.table {
		names = append(names, "nft")
	}
	if f.nftChains {
		names = append(names, "iptables-nft")
	}
	if f.legacyChains {
		names = append(names, "iptables-legacy")
	}
	return names, nil
}
