package run

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/plan"
)

// maxFailedClientSpans bounds how many spans of failed dials and requests one task keeps: a wait of two minutes
// looks hundreds of times, and each look is an event on the task's span anyhow. Successful ones are always kept.
const maxFailedClientSpans = 16

// taskSpan is the span of one task.
type taskSpan struct {
	trace.Span
	failed *atomic.Int64 // client spans below it that failed
}

func (e *execution) tracer() trace.Tracer {
	if e.Tracer == nil {
		return noop.NewTracerProvider().Tracer("")
	}
	return e.Tracer
}

// startSpan starts the span of t: its name is the kind's, so that names stay few; the task's own name is an attribute.
func (e *execution) startSpan(ctx context.Context, t *plan.Task) (context.Context, taskSpan) {
	ctx, span := e.tracer().Start(ctx, t.Kind.Name, trace.WithAttributes(
		attribute.String("slipway.task.id", t.ID),
		attribute.String("slipway.step.name", t.Kind.Name),
	))
	return ctx, taskSpan{Span: span, failed: new(atomic.Int64)}
}

// retry adds the event of one failed attempt.
func (s taskSpan) retry(r Retry) {
	if !s.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{
		attribute.Int("slipway.retry.attempt", r.Attempt),
		attribute.String("error.type", fault.KindOf(r.Err).String()),
		attribute.String("exception.message", r.Err.Error()),
		attribute.Float64("slipway.retry.delay", r.Delay.Seconds()),
	}
	if r.Part != "" {
		attributes = append(attributes, attribute.String("slipway.retry.part", r.Part))
	}
	s.AddEvent("retry", trace.WithAttributes(attributes...))
}

// end ends the span with what became of the task.
func (s taskSpan) end(result TaskResult) {
	if s.IsRecording() {
		s.SetAttributes(
			attribute.String("slipway.task.state", string(result.State)),
			attribute.Int("slipway.task.attempts", result.Attempts),
		)
		for _, o := range result.Outputs {
			s.SetAttributes(attribute.String("slipway.output."+o.Key, o.Value))
		}
		switch result.State {
		case Done:
			s.SetStatus(codes.Ok, "")
		default:
			s.SetAttributes(attribute.String("error.type", fault.KindOf(result.Err).String()))
			s.SetStatus(codes.Error, result.Err.Error())
		}
	}
	s.End()
}

// tracedDial wraps dial in a client span.
func (l *life) tracedDial(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, span := l.clientSpan(ctx, "dial", attribute.String("network.transport", network))
		if span.IsRecording() {
			span.SetAttributes(serverAttributes(network, addr)...)
		}
		conn, err := dial(ctx, network, addr)
		if err == nil && span.IsRecording() {
			if peer, parseErr := netip.ParseAddrPort(conn.RemoteAddr().String()); parseErr == nil {
				span.SetAttributes(attribute.String("network.peer.address", peer.Addr().String()), attribute.Int("network.peer.port", int(peer.Port())))
			}
		}
		l.endClientSpan(span, err)
		return conn, err
	}
}

// serverAttributes names the server in the words of the semantic conventions.
func serverAttributes(network, addr string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || network == "unix" {
		return []attribute.KeyValue{attribute.String("server.address", addr)}
	}
	attributes := []attribute.KeyValue{attribute.String("server.address", host)}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, attribute.Int("server.port", n))
	}
	return attributes
}

// clientSpan starts a client span below the task's.
func (l *life) clientSpan(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	if !l.span.IsRecording() {
		return ctx, trace.SpanFromContext(context.Background())
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpan(ctx, l.span.Span)
	}
	return l.tracer().Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
}

// endClientSpan ends span; beyond the bound a failed one is dropped, which is what not ending it means.
func (l *life) endClientSpan(span trace.Span, err error) {
	if !span.IsRecording() {
		return
	}
	if err != nil {
		if l.span.failed.Add(1) > maxFailedClientSpans {
			return
		}
		span.SetAttributes(attribute.String("error.type", fault.KindOf(err).String()))
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// tracedTransport puts every request into a client span, and the span's context into the request's headers.
type tracedTransport struct {
	life *life
	base *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *tracedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !t.life.span.IsRecording() {
		return t.base.RoundTrip(request)
	}
	ctx, span := t.life.clientSpan(request.Context(), request.Method,
		attribute.String("http.request.method", request.Method),
		attribute.String("url.full", httpx.Redact(request.URL)))
	span.SetAttributes(urlServerAttributes(request)...)
	request = request.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(request.Header))
	response, err := t.base.RoundTrip(request)
	if err != nil {
		t.life.endClientSpan(span, err)
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	if response.StatusCode >= 400 {
		span.SetAttributes(attribute.String("error.type", strconv.Itoa(response.StatusCode)))
		span.SetStatus(codes.Error, "")
		if t.life.span.failed.Add(1) > maxFailedClientSpans {
			return response, nil
		}
	}
	span.End()
	return response, nil
}

func urlServerAttributes(request *http.Request) []attribute.KeyValue {
	port := request.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[request.URL.Scheme]
	}
	return serverAttributes("tcp", net.JoinHostPort(request.URL.Hostname(), port))
}

// Derive implements httpx.Deriver.
func (t *tracedTransport) Derive(change func(*http.Transport)) http.RoundTripper {
	base := t.base.Clone()
	change(base)
	return &tracedTransport{life: t.life, base: base}
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the transport.
func (t *tracedTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }
