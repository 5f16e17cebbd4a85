package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The protocols of OTLP, as OTEL_EXPORTER_OTLP_PROTOCOL says them.
const (
	overHTTP = "http/protobuf"
	overGRPC = "grpc"
)

// telemetry measures what a collector adds to the run of a mkdir: one that lives, one that is dead, and one that takes
// connections and never answers.
func (b *bench) telemetry() (outcome, error) {
	var out outcome
	var received atomic.Int64
	web := httptest.NewServer(collector(&received))
	defer web.Close()
	rpc, err := serveGRPC(&received)
	if err != nil {
		return out, err
	}
	defer rpc.stop()
	hole, err := net.Listen("tcp", "127.0.0.1:0") // the kernel completes connections that nobody accepts
	if err != nil {
		return out, err
	}
	defer hole.Close()
	closed, err := ports(1)
	if err != nil {
		return out, err
	}
	dead := net.JoinHostPort("127.0.0.1", closed[0])
	cases := []struct{ name, protocol, address string }{
		{"no collector", "", ""},
		{"lives, HTTP", overHTTP, web.Listener.Addr().String()},
		{"lives, gRPC", overGRPC, rpc.address},
		{"refuses, HTTP", overHTTP, dead},
		{"refuses, gRPC", overGRPC, dead},
		{"never answers, HTTP", overHTTP, hole.Addr().String()},
		{"never answers, gRPC", overGRPC, hole.Addr().String()},
	}
	costs := make(map[string][]cost)
	rounds := b.rounds(15, 3)
	for range rounds {
		for _, c := range cases {
			one, err := measure(b.traced(c.protocol, c.address))
			if err != nil {
				return out, err
			}
			costs[c.name] = append(costs[c.name], one)
		}
	}
	if got, want := received.Load(), int64(2*rounds); got != want {
		return out, fmt.Errorf("the living collectors received %d exports, want %d", got, want)
	}
	out.Raw = costs
	out.Table = [][]string{{"median", "wall", "added", "CPU"}}
	base := median(walls(costs[cases[0].name]))
	worst := time.Duration(0)
	for _, c := range cases {
		added := median(walls(costs[c.name])) - base
		worst = max(worst, added)
		out.Table = append(out.Table, []string{c.name, show(base + added), show(added), show(median(cpus(costs[c.name])))})
	}
	out.Goals = []goal{atMost("added, at worst", worst, 500*time.Millisecond)}
	out.Notes = []string{"the living collectors are receivers in the bench's own process, so that slipway's share is what is measured"}
	return out, nil
}

// traced returns a mkdir that sends its trace to a collector, or to none.
func (b *bench) traced(protocol, address string) *exec.Cmd {
	cmd := b.run("mkdir", b.dir)
	if address != "" {
		cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address)
	}
	return cmd
}

// collector returns a receiver of OTLP over HTTP that counts the exports and keeps nothing.
func collector(received *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			received.Add(1)
		}
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty message is an empty body
	})
}

// rpcServer is a receiver of OTLP over gRPC.
type rpcServer struct {
	*grpc.Server
	address string
	served  chan error
}

// serveGRPC starts a receiver of OTLP over gRPC that counts the exports and keeps nothing. It needs no generated code: to
// an Empty all fields are unknown, and an answer without any is one.
func serveGRPC(received *atomic.Int64) (*rpcServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &rpcServer{
		Server: grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
				return err
			}
			received.Add(1)
			return stream.SendMsg(new(emptypb.Empty))
		})),
		address: listener.Addr().String(),
		served:  make(chan error, 1),
	}
	go func() { s.served <- s.Serve(listener) }()
	return s, nil
}

// stop ends the server.
func (s *rpcServer) stop() {
	s.Stop()
	<-s.served
}
