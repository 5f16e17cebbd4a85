package run

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// maxFailedClientSpans bounds how many spans of failed dials and requests one task keeps: a wait of two minutes
// looks hundreds of times, and each look is an event on the task's span anyhow. Successful ones are always kept, and
// failed ones that were under way when the bound was reached.
const maxFailedClientSpans = 16

// maxClientSpans bounds how many client spans one task keeps in all: a large object takes a request for every few MiB, and
// the first of them tell what there is to tell. The task's span says how many there were besides.
const maxClientSpans = 256

// tracedDial wraps dial in a client span.
func (l *life) tracedDial(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !l.span.IsRecording() || ctx.Value(doomed{}) != nil || !l.span.room() {
			return dial(ctx, network, addr)
		}
		spared := l.spared()
		ctx, span := l.clientSpan(ctx, "dial", attribute.String("network.transport", transportName(network)))
		span.SetAttributes(serverAttributes(network, addr)...)
		conn, err := dial(ctx, network, addr)
		if err == nil {
			span.SetAttributes(peerAttributes(conn)...)
		} else {
			failSpan(span, fault.KindOf(err).String(), err.Error())
		}
		l.endClientSpan(span, err != nil, spared)
		return conn, err
	}
}

// spared reports whether a client span that begins now is kept even if it fails. That is decided when it begins, because
// the dials below a request end before it does, and would be left without their parent if it were dropped after all.
// So those that are under way together may go over the bound together.
func (l *life) spared() bool { return l.span.failed.Load() < maxFailedClientSpans }

// doomed marks the context of a request whose span is dropped if it fails.
type doomed struct{}

// transportName returns a network of package net in the words of the semantic conventions.
func transportName(network string) string {
	if strings.HasPrefix(network, "unix") {
		return "unix"
	}
	return strings.TrimRight(network, "46")
}

// serverAttributes names the server in the words of the semantic conventions.
func serverAttributes(network, addr string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || transportName(network) == "unix" {
		return []attribute.KeyValue{attribute.String("server.address", addr)}
	}
	attributes := []attribute.KeyValue{attribute.String("server.address", host)}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, attribute.Int("server.port", n))
	}
	return attributes
}

// peerAttributes tells what the server's name stood for.
func peerAttributes(conn net.Conn) []attribute.KeyValue {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return nil // a Unix socket has no other name
	}
	return []attribute.KeyValue{
		attribute.String("network.peer.address", peer.Addr().Unmap().String()),
		attribute.Int("network.peer.port", int(peer.Port())),
	}
}

// clientSpan starts a client span below that of ctx, which is the task's or that of a request.
func (l *life) clientSpan(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpan(ctx, l.span.Span)
	}
	return l.tracer().Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
}

func failSpan(span trace.Span, errorType, message string) {
	span.SetAttributes(attribute.String("error.type", errorType))
	span.SetStatus(codes.Error, message)
}

// endClientSpan ends span; a failed one that is not spared is dropped, which is what not ending it means.
func (l *life) endClientSpan(span trace.Span, failed, spared bool) {
	if failed {
		l.span.failed.Add(1)
	}
	if failed && !spared {
		l.span.begun.Add(-1)
		return
	}
	span.End()
}

// tracedTransport puts every request into a client span, and the span's context into the request's headers. Without
// a collector there is no span, and the headers carry on the context that slipway was given.
type tracedTransport struct {
	life *life
	base *http.Transport
}

// RoundTrip implements http.RoundTripper. The span ends with the response's header; the body is the task's time.
func (t *tracedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !t.life.span.IsRecording() || !t.life.span.room() {
		if !trace.SpanContextFromContext(request.Context()).IsValid() {
			return t.base.RoundTrip(request)
		}
		return t.base.RoundTrip(propagated(request.Context(), request))
	}
	name, attributes := requestAttributes(request)
	spared := t.life.spared()
	ctx, span := t.life.clientSpan(request.Context(), name, attributes...)
	if !spared {
		ctx = context.WithValue(ctx, doomed{}, true)
	}
	response, err := t.base.RoundTrip(propagated(ctx, request))
	switch {
	case err != nil:
		failSpan(span, fault.KindOf(err).String(), err.Error())
	case response.StatusCode >= 400:
		failSpan(span, strconv.Itoa(response.StatusCode), "")
	}
	if err == nil {
		span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	}
	t.life.endClientSpan(span, err != nil || response.StatusCode >= 400, spared)
	return response, err
}

// propagated returns a copy of request in ctx, with ctx's span in its headers.
func propagated(ctx context.Context, request *http.Request) *http.Request {
	request = request.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(request.Header))
	return request
}

// knownMethods are those that the semantic conventions let stand as they are, so that a span's names stay few.
var knownMethods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}

// requestAttributes returns name and attributes of a request's span:
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span.
func requestAttributes(request *http.Request) (string, []attribute.KeyValue) {
	method := cmp.Or(request.Method, http.MethodGet)
	attributes := append(serverAttributes("tcp", httpx.Address(request.URL)),
		attribute.String("url.full", httpx.Redact(request.URL)))
	if !slices.Contains(knownMethods, method) {
		return "HTTP", append(attributes,
			attribute.String("http.request.method", "_OTHER"), attribute.String("http.request.method_original", method))
	}
	return method, append(attributes, attribute.String("http.request.method", method))
}

// Derive implements httpx.Deriver.
func (t *tracedTransport) Derive(change func(*http.Transport)) http.RoundTripper {
	base := t.base.Clone()
	change(base)
	return &tracedTransport{life: t.life, base: base}
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the transport.
func (t *tracedTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }
