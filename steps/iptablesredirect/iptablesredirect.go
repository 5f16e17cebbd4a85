// Package iptablesredirect is the step that redirects a pod's connections to a service mesh's proxy.
//
// options.go reads what was asked for, presets.go has the meshes' defaults; the rules and how they become the kernel's
// are internal/netfilter's.
package iptablesredirect

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/netfilter"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is iptables-redirect.
var Kind = step.Kind{
	Name:   "iptables-redirect",
	Short:  "redirect the pod's connections to a mesh's proxy",
	Long:   long,
	Policy: step.Policy{Timeout: 30 * time.Second, Retries: 20, Backoff: 100 * time.Millisecond, MaxBackoff: 2 * time.Second},
	New:    func() step.Step { return &redirect{} },
}

const long = `Does what istio-init and linkerd-init do: connections of the pod go to a proxy's outbound port, connections to it go to the
inbound port. IPv4 and IPv6, in one transaction: no packet meets half of the rules.

    slipway iptables-redirect --preset istio
    slipway iptables-redirect --preset linkerd --exclude-outbound-ports 3306,8000-8010
    slipway iptables-redirect --outbound-port 15001 --inbound-port 15006 --exclude-uid 1337 --verify
    slipway --dry-run --diff iptables-redirect --preset istio

In a plan, last, so that the steps before it have the network to themselves:

    - iptables-redirect: {preset: istio, exclude-outbound-cidrs: [169.254.169.254, "fd00:ec2::254"]}

**What is left alone**: connections of the proxy, by --exclude-uid and --exclude-gid; to excluded ports and networks; between
the pod's containers, on loopback and by the pod's own address; excluded interfaces. User and group ids are numbers, 0
included. Lists take any number of entries, ranges too. The values of --exclude-inbound-ports and --exclude-outbound-ports
add to a preset's; whatever else is given replaces the preset's.

**slipway's own connections** pass, by a mark that only a process with NET_ADMIN can set. So when a pod starts its init
containers again, and the rules of the first time are still there while the proxy is not, its other steps work.

**Back ends** (--backend): nft speaks to the kernel itself and needs no program in the image; its table is named slipway.
iptables, iptables-legacy and iptables-nft run those tools, for nodes without nf_tables and for tools that look for rules
there; their chains begin with SLIPWAY_. auto takes nft where the kernel has it, else the tools that work. Rules of others
are never touched; where another mesh redirects the pod already, the step fails with 78.

**--verify** opens connections, in both families, and looks where they arrive: outbound, inbound, of the excluded users
and groups, to excluded ports. The outputs "verified" and "unverified" say what was proved and what could not be tried, such
as other users without the capability SETUID. It takes a third of a second.

**--remove** takes away what an earlier run has set, and nothing else. --backend auto finds out by which back end.

**A second run** with the same options changes nothing. With others it replaces the rules, without a moment in which a
connection passes or is refused.

**Exit codes**: 71 if the kernel or the image lacks something; 73 if iptables-legacy cannot make its lock file; 75 if
another program holds the lock; 77 if NET_ADMIN is missing; 78 if another mesh redirects the pod, or --verify finds that
connections go elsewhere.

**Privileges**: NET_ADMIN; iptables-legacy needs NET_RAW, too, unless it is root. --verify needs SETUID and SETGID to try
other users. Kubernetes gives capabilities to root alone, so the container has runAsUser: 0; elsewhere any user will do that has
them as ambient capabilities.
`

type redirect struct {
	options
	parsed netfilter.Options
}

// Flags implements step.Step.
func (s *redirect) Flags(fs *pflag.FlagSet) { s.bind(fs) }

// Effects implements step.Step.
func (s *redirect) Effects() ([]step.Effect, error) {
	parsed, err := s.parse()
	if err != nil {
		return nil, err
	}
	s.parsed = parsed
	effects := []step.Effect{{Verb: step.Netfilter, Object: "inet"}}
	if s.backend != "auto" && s.backend != "nft" {
		effects = append(effects, step.Effect{Verb: step.Execute, Object: s.backend + "-restore"})
	}
	if s.verify {
		for _, nowhere := range netfilter.Nowhere() {
			effects = append(effects, step.Effect{Verb: step.Dial, Object: "tcp://" + nowhere.String()})
		}
	}
	return effects, nil
}

// rules returns what the kernel shall have.
func (s *redirect) rules() netfilter.Ruleset {
	if s.remove {
		return netfilter.Ruleset{}
	}
	return netfilter.Plan(s.parsed)
}

// Preview implements step.Previewer.
func (s *redirect) Preview() string {
	if s.remove {
		return ""
	}
	rules := s.rules()
	text := rules.NFT()
	if s.backend != "auto" && s.backend != "nft" {
		text = "# IPv4\n" + rules.Restore(false) + "# IPv6\n" + rules.Restore(true)
	}
	for _, command := range rules.Routes() {
		text += "# " + command + "\n"
	}
	return text
}

// Diff implements step.Differ.
func (s *redirect) Diff(ctx context.Context, env *step.Env) ([]string, error) {
	backend, _, err := netfilter.Open(env, s.backend)
	if err != nil {
		return nil, err
	}
	return backend.Diff(ctx, s.rules())
}

// Run implements step.Step.
func (s *redirect) Run(ctx context.Context, env *step.Env) error {
	if s.remove {
		removed, err := netfilter.Remove(ctx, env, s.backend)
		if err == nil && !removed {
			env.Output(step.Skipped, "no rules are there")
		}
		return err
	}
	backend, why, err := netfilter.Open(env, s.backend)
	if err != nil {
		return err
	}
	env.Output("backend", backend.Name())
	if s.backend == "auto" {
		env.Output("because", why)
	}
	changed, err := netfilter.Apply(ctx, backend, s.rules())
	if err != nil {
		return err
	}
	if s.verify {
		proof, err := netfilter.Verify(ctx, s.parsed)
		env.Output("verified", cmp.Or(strings.Join(proof.Proved, "; "), "nothing"))
		if len(proof.Untested) > 0 {
			env.Output("unverified", strings.Join(proof.Untested, "; "))
		}
		if err != nil {
			return err
		}
	}
	if !changed {
		env.Output(step.Skipped, "unchanged")
	}
	return nil
}
