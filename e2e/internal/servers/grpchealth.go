package servers

import (
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/slipway-init/slipway/e2e/internal/pki"
)

// GRPC is a gRPC server, in this process, that tells the health of its services.
type GRPC struct {
	*health.Server
	Addr string
}

// StartGRPC starts a gRPC health server on a port of 127.0.0.1, over TLS unless certificate is empty. The whole server
// (service "") does not serve until SetServingStatus says so.
func StartGRPC(t testing.TB, port string, certificate pki.Pair) *GRPC {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	var options []grpc.ServerOption
	if certificate != (pki.Pair{}) {
		loaded := certificate.Load(t)
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&loaded)))
	}
	server := &GRPC{Server: health.NewServer(), Addr: listener.Addr().String()}
	server.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	serving := grpc.NewServer(options...)
	healthpb.RegisterHealthServer(serving, server)
	served := make(chan error, 1)
	go func() { served <- serving.Serve(listener) }()
	t.Cleanup(func() {
		serving.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve gRPC: %v", err)
		}
	})
	return server
}

// Serve says that a service serves; "" is the server as a whole.
func (g *GRPC) Serve(service string) {
	g.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
}
