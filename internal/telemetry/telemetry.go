// Package telemetry sends the traces of one short run to an OpenTelemetry collector, and is never in the way of the
// run: no endpoint means no network, no goroutine and no cost; a dead collector costs less than half a second at the
// very end and one warning; one that is slow but answers gets two seconds.
//
// What is emitted, which variables are honoured and what was rejected stands in docs/telemetry.md.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/slipway-init/slipway/internal/fault"
)

// scope names the instrumentation, and the root span with it.
const (
	scope = "github.com/slipway-init/slipway"
	root  = "slipway"
)

// How long Shutdown waits for the collector.
const (
	deadBudget   = 400 * time.Millisecond // one that has given no sign of life; 0.1 s of the promised 0.5 s is for ourselves
	livingBudget = 2 * time.Second        // one that has answered something, or at least completed a connection's hello
)

// Options are what Start needs beside the collector's settings, which stand in the environment.
type Options struct {
	// Getenv looks a variable up in the process's environment: the SDK reads some of the same variables from there by
	// itself. Nil is os.Getenv.
	Getenv  func(name string) string
	Log     *slog.Logger // of warnings and debug lines; nil discards them
	Version string       // of slipway, for service.version; empty leaves it out
	Spool   string       // the folder that keeps what could not be sent; empty keeps nothing
}

// Telemetry is the trace of one run, from Start to Shutdown.
type Telemetry struct {
	ctx      context.Context          // holds the root span, or the caller's span where there is none
	provider *sdktrace.TracerProvider // nil where nothing is exported
	sender   *sender                  // nil where nothing is exported
	root     trace.Span
	shutdown sync.Once
}

// Start begins the trace: as the child of the span that TRACEPARENT and TRACESTATE name, if they do. The context that
// it returns holds the root span, or without a collector just that parent, so that children still get it. Settings
// that cannot work are one warning and no export, never a reason to fail. Start waits for nothing. It sets the SDK's
// process-wide log and error handlers, so call it once.
func Start(ctx context.Context, options Options) (context.Context, *Telemetry) {
	if options.Getenv == nil {
		options.Getenv = os.Getenv
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	ctx = withParent(ctx, options)
	t := &Telemetry{ctx: ctx, root: noop.Span{}}
	settings, err := parseSettings(options.Getenv)
	if err != nil {
		options.Log.Warn("no traces are sent", "error", err)
		return ctx, t
	}
	if settings.endpoint == "" {
		return ctx, t
	}
	otel.SetLogger(logr.New(sdkLog{options.Log}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { options.Log.Debug("tracing", "error", err) }))
	sender := newSender(newCollector(settings), options.Log, options.Spool)
	exporter, err := otlptrace.New(ctx, sender)
	if err != nil {
		options.Log.Warn("no traces are sent", "error", err)
		return ctx, t
	}
	t.sender = sender
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(describe(ctx, options)),
	)
	t.ctx, t.root = t.Tracer().Start(ctx, root, trace.WithAttributes(
		semconv.ProcessExecutableName(executable()),
		semconv.ProcessPID(os.Getpid()),
	))
	return t.ctx, t
}

// withParent returns ctx with the remote span that the environment names. A value that is none is ignored, as the W3C
// wants it.
func withParent(ctx context.Context, options Options) context.Context {
	parent := options.Getenv("TRACEPARENT")
	if parent == "" {
		return ctx
	}
	parented := propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{
		"traceparent": parent,
		"tracestate":  options.Getenv("TRACESTATE"),
	})
	if !trace.SpanContextFromContext(parented).IsValid() {
		options.Log.Debug("TRACEPARENT is not a trace context and was ignored")
	}
	return parented
}

// executable returns the base name of the running binary.
func executable() string {
	path, err := os.Executable()
	if err != nil {
		return root
	}
	return filepath.Base(path)
}

// Tracer returns the tracer of the run; it makes no spans where nothing is exported.
func (t *Telemetry) Tracer() trace.Tracer {
	if t.provider == nil {
		return noop.NewTracerProvider().Tracer(scope)
	}
	return t.provider.Tracer(scope)
}

// TraceID returns the trace's ID in hexadecimal digits, the caller's where slipway makes no spans, and "" without either.
func (t *Telemetry) TraceID() string {
	span := trace.SpanContextFromContext(t.ctx)
	if !span.HasTraceID() {
		return ""
	}
	return span.TraceID().String()
}

// Carrier returns the root span's context as lines that a shell can source, and an application can read:
// TRACEPARENT=… and, when there is one, TRACESTATE=…. It is empty without a trace.
func (t *Telemetry) Carrier() []byte {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(t.ctx, carrier)
	var lines strings.Builder
	for _, name := range []string{"traceparent", "tracestate"} {
		if value := carrier[name]; value != "" {
			lines.WriteString(strings.ToUpper(name) + "=" + quote(value) + "\n")
		}
	}
	return []byte(lines.String())
}

// quote puts value into single quotes if a shell would see more in it than a word.
func quote(value string) string {
	word := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("_-.:/@%+=,", r)
	}
	if strings.IndexFunc(value, func(r rune) bool { return !word(r) }) < 0 {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// Shutdown ends the root span with the process's exit code and the error behind it, and sends what was not sent yet.
// It returns within half a second if the collector has given no sign of life or a signal ended the run, within two
// seconds otherwise, and when ctx ends. Spans that were not sent then are spooled, if there is a spool, and counted in
// one warning. Only the first call does anything.
func (t *Telemetry) Shutdown(ctx context.Context, exitCode int, err error) {
	if t.provider == nil {
		return
	}
	t.shutdown.Do(func() {
		t.root.SetAttributes(semconv.ProcessExitCode(exitCode))
		if exitCode == 0 {
			t.root.SetStatus(codes.Ok, "")
		} else {
			t.root.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
			t.root.SetStatus(codes.Error, message(err))
		}
		t.root.End()
		patience := livingBudget
		if _, signalled := errors.AsType[*fault.Signal](err); signalled {
			patience = deadBudget // whoever sent it waits for us
		}
		t.sender.finish(ctx, patience, func(ctx context.Context) { _ = t.provider.Shutdown(ctx) })
	})
}

// errorType is the fault's kind; an exit code without an error is the code of the process that slipway ran.
func errorType(err error) string {
	if err == nil {
		return semconv.ErrorTypeOther.Value.AsString()
	}
	return fault.KindOf(err).String()
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sdkLog is the SDK's log. The SDK's own would print to standard error, and it logs the values of settings that it
// cannot parse, headers with credentials among them: only its constant messages go on.
type sdkLog struct{ log *slog.Logger }

func (s sdkLog) Init(logr.RuntimeInfo)          {}
func (s sdkLog) Enabled(int) bool               { return false } // of Info, which is all of its debug lines and warnings
func (s sdkLog) Info(int, string, ...any)       {}
func (s sdkLog) WithValues(...any) logr.LogSink { return s }
func (s sdkLog) WithName(string) logr.LogSink   { return s }
func (s sdkLog) Error(_ error, msg string, _ ...any) {
	s.log.Warn("a setting of telemetry was ignored", "reason", msg)
}
