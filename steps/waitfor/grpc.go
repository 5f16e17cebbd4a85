package waitfor

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/slipway-init/slipway/internal/fault"
)

// lookGRPC asks the standard health service, grpc.health.v1, for the service that the path names; none means the server
// as a whole.
func lookGRPC(ctx context.Context, e *eye, t target) error {
	var last cause
	var transport credentials.TransportCredentials = insecure.NewCredentials()
	if t.Scheme == "grpcs" {
		transport = &witness{TransportCredentials: credentials.NewTLS(e.tlsFor(t.host())), last: &last}
	}
	client, err := grpc.NewClient("passthrough:///"+t.address(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := e.env.Dial(ctx, "tcp", addr)
			last.keep(err)
			return conn, err
		}),
		grpc.WithTransportCredentials(transport),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxContent)),
	)
	if err != nil {
		return fault.New(fault.Internal, "make a gRPC client: %w", err)
	}
	defer client.Close()
	request := &grpc_health_v1.HealthCheckRequest{Service: t.under()}
	answer, err := grpc_health_v1.NewHealthClient(client).Check(ctx, request)
	if err != nil {
		return grpcError(t, err, last.err())
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return gone("is %s", answer.Status)
	}
	return nil
}

// grpcError says what an error of Check means. Where the connection failed, its cause says more than gRPC's text.
func grpcError(t target, err, cause error) error {
	answer := grpcstatus.Convert(err)
	switch answer.Code() {
	case codes.Unavailable:
		if cause != nil {
			return cause
		}
	case codes.NotFound:
		return gone("the server does not know the service %q", t.under())
	case codes.Unimplemented:
		return fault.New(fault.Unsupported, "the server has no grpc.health.v1 service")
	case codes.Unauthenticated, codes.PermissionDenied:
		return fault.New(fault.Permission, "%s: %s", answer.Code(), answer.Message())
	}
	return fault.New(fault.Unavailable, "%s: %s", answer.Code(), answer.Message())
}

// cause keeps why a connection failed, which gRPC turns into text. It connects in a goroutine of its own.
type cause struct {
	mu     sync.Mutex
	failed error
}

func (c *cause) keep(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = err
}

func (c *cause) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// witness keeps why a TLS handshake failed.
type witness struct {
	credentials.TransportCredentials
	last *cause
}

// ClientHandshake implements credentials.TransportCredentials.
func (w *witness) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, conn)
	w.last.keep(err)
	return secured, info, err
}

// Clone implements credentials.TransportCredentials.
func (w *witness) Clone() credentials.TransportCredentials {
	return &witness{TransportCredentials: w.TransportCredentials.Clone(), last: w.last}
}
