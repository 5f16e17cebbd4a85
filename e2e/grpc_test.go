package e2e

import (
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// A run waits through all states of a gRPC server's start: refused, NOT_SERVING, SERVING.
func TestWaitForGRPC(t *testing.T) {
	t.Parallel()
	port := servers.FreePort(t)
	target := "grpc://127.0.0.1:" + port
	waiting := slipway.Command{Args: []string{"wait-for", "--timeout", "60s", target}}.Start(t)
	waiting.AwaitStderr(t, "refused")
	g := servers.StartGRPC(t, port, pki.Pair{})
	expect(t, slipway.Run(t, "wait-for", "--timeout", "300ms", "--fail-fast", target), 69, "NOT_SERVING")
	g.Serve("")
	expect(t, waiting.Wait(t), 0)

	expect(t, slipway.Run(t, "wait-for", "--timeout", "300ms", target+"/orders.Orders"), 69, "orders.Orders")
	g.Serve("orders.Orders")
	expect(t, slipway.Run(t, "wait-for", target+"/orders.Orders"), 0)
	g.SetServingStatus("orders.Orders", healthpb.HealthCheckResponse_NOT_SERVING)
	expect(t, slipway.Run(t, "wait-for", "--not", target+"/orders.Orders"), 0)
}

func TestWaitForGRPCOverTLS(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	g := servers.StartGRPC(t, "0", authority.Issue(t, "server"))
	g.Serve("")
	expect(t, slipway.Run(t, "wait-for", "--ca-file", authority.File, "grpcs://"+g.Addr), 0)
	expect(t, slipway.Run(t, "wait-for", "--fail-fast", "grpcs://"+g.Addr), 77, "certificate")
	expect(t, slipway.Run(t, "wait-for", "--timeout", "300ms", "grpc://"+g.Addr), 69)
}
