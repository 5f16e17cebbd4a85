package telemetry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/slipway-init/slipway/internal/httpx"
)

// collector is the SDK's client of a collector, together with what Shutdown must know of it: whether it lives. An
// export that takes a second looks the same as one that never ends, so a probe asks for something that a living
// collector answers at once.
type collector struct {
	otlptrace.Client
	name  string                      // the endpoint as it may be printed
	alive atomic.Bool                 // it has answered something
	probe func(context.Context) error // asks it for a sign of life; nil says that it gave one
	close func()                      // closes what Client.Stop leaves open
}

func newCollector(s settings) *collector {
	if s.protocol == "grpc" {
		return newGRPCCollector(s)
	}
	return newHTTPCollector(s)
}

// printable returns endpoint without what may be a secret.
func printable(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return httpx.Redact(u)
	}
	_, address, found := strings.Cut(endpoint, "@")
	if !found {
		return endpoint
	}
	return address
}

// newHTTPCollector returns a collector behind OTLP over HTTP. The SDK's own transport is a global whose connections
// nobody can close; this one is ours, and closes also those that a cancelled request leaves behind, busy or half made.
func newHTTPCollector(s settings) *collector {
	c := &collector{name: printable(s.endpoint)}
	open, shut := context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: s.timeout}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err == nil {
				context.AfterFunc(open, func() { _ = conn.Close() })
			}
			return conn, err
		},
		TLSClientConfig:     s.tls,
		TLSHandshakeTimeout: s.timeout,
		ForceAttemptHTTP2:   true,
	}
	client := &http.Client{
		Transport: listening{c, transport},
		Timeout:   s.timeout,
		// A redirect would carry the headers, and with them the credentials, to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.Client = otlptracehttp.NewClient(
		otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}),
	)
	// OPTIONS needs no credentials and reaches no exporter; whatever the answer, somebody is there.
	c.probe = func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodOptions, s.endpoint, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	c.close = shut
	return c
}

// listening is a transport that notes a sign of life, and tells a final refusal from one that time may mend.
type listening struct {
	collector *collector
	base      http.RoundTripper
}

func (l listening) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	l.collector.alive.Store(true)
	if request.Method == http.MethodPost && final(response.StatusCode) {
		_ = response.Body.Close()
		return nil, &refusal{response.Status}
	}
	return response, nil
}

// final reports whether a status must not be tried again:
// https://opentelemetry.io/docs/specs/otlp/#failures-1.
func final(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return code >= 300
}

// refusal is an HTTP answer that sending the same again will not change.
type refusal struct{ status string }

func (r *refusal) Error() string { return "the collector answered " + r.status }

// newGRPCCollector returns a collector behind OTLP over gRPC. The SDK reads its certificates by itself, from the files
// that parseTLS has proved readable.
func newGRPCCollector(s settings) *collector {
	c := &collector{name: printable(s.endpoint), close: func() {}}
	options := []otlptracegrpc.Option{
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}),
		otlptracegrpc.WithDialOption(
			grpc.WithChainUnaryInterceptor(c.intercept),
			grpc.WithDisableServiceConfig(), // saves a TXT look-up, which some clusters' DNS answers after seconds
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: 5 * time.Second,
			}),
		),
	}
	if !strings.Contains(s.endpoint, "://") {
		// The SDK cannot parse 10.0.0.7:4317, and would go to localhost instead.
		options = append(options, otlptracegrpc.WithEndpoint(s.endpoint))
	}
	c.Client = otlptracegrpc.NewClient(options...)
	c.probe = func(ctx context.Context) error { return c.UploadTraces(ctx, nil) }
	return c
}

// intercept connects before an export, and notes it when that succeeds: a gRPC server speaks first, so a completed
// connection is a sign of life. An export of nothing, the probe, ends there.
func (c *collector) intercept(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn,
	invoker grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	ready := connect(ctx, cc)
	if ready {
		c.alive.Store(true)
	}
	if export, ok := request.(*coltracepb.ExportTraceServiceRequest); ok && len(export.GetResourceSpans()) == 0 && ready {
		return nil
	}
	return invoker(ctx, method, request, reply, cc, options...)
}

// connect waits until cc is connected or has failed to, and reports which. A failure of an earlier attempt is not the
// last word: it looks once more, now and not when the backoff says.
func connect(ctx context.Context, cc *grpc.ClientConn) bool {
	cc.Connect()
	if cc.GetState() == connectivity.TransientFailure {
		cc.ResetConnectBackoff()
		again, cancel := context.WithTimeout(ctx, deadBudget/2)
		defer cancel()
		cc.WaitForStateChange(again, connectivity.TransientFailure)
	}
	for state := cc.GetState(); state == connectivity.Idle || state == connectivity.Connecting; state = cc.GetState() {
		if !cc.WaitForStateChange(ctx, state) {
			return false
		}
	}
	return cc.GetState() == connectivity.Ready
}

// refused reports whether the collector has said that it will not take these spans, now or later:
// https://opentelemetry.io/docs/specs/otlp/#failures.
func refused(err error) bool {
	if _, ok := errors.AsType[*refusal](err); ok {
		return true
	}
	s, ok := status.FromError(err)
	if !ok {
		return false
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return false
	}
	return true
}

// partly reports whether the collector took some spans and will not take the others; the SDK's type for that is
// internal to it.
func partly(err error) bool {
	return err != nil && strings.Contains(err.Error(), "OTLP partial success")
}
