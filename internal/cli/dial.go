package cli

import (
	"context"
	"log/slog"
	"net"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/netfilter"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// dialer returns how the plan's steps connect, nil for as usual. In a pod that slipway has redirected on an earlier run
// the proxy may not be up again yet, so connections are marked, and the rules let them pass. Another mesh's do not: that
// is said before the first step, and again by the hint of whichever connection fails.
//
// Both need NET_ADMIN. Without it, or for a plan that connects to nothing, this costs one system call at most.
func dialer(p *plan.Plan, log *slog.Logger) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if !dials(p) || !netfilter.Privileged() {
		return nil
	}
	dial := netfilter.Dialer().DialContext
	meshes, err := netfilter.Detect()
	if err != nil {
		log.Debug("who redirects this pod is not known", "error", err)
	}
	if len(meshes) == 0 {
		return dial
	}
	for _, m := range meshes {
		log.Warn("another mesh redirects this pod", "mesh", m.Name, "hint", m.Hint())
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return conn, fault.Hint(err, "%s", meshes[0].Hint())
	}
}

// dials reports whether a step of the plan connects to something, or runs what may.
func dials(p *plan.Plan) bool {
	for t := range p.Tasks() {
		for _, e := range t.Effects {
			if e.Verb == step.Dial {
				return true
			}
		}
	}
	return false
}
