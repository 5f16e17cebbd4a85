package telemetry_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/telemetry"
)

const (
	parentTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentSpan  = "00f067aa0ba902b7"
	traceparent = "00-" + parentTrace + "-" + parentSpan + "-01"
)

// TestMain clears the process's environment of what the SDK would read from it.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "OTEL_") || strings.HasSuffix(strings.ToUpper(name), "_PROXY") || name == "TRACEPARENT" || name == "TRACESTATE" {
			os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// logged is a log that tests read back.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// warnings returns the lines at the level of a warning and above.
func (l *logged) warnings() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, "level=DEBUG") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// run is one run of slipway with one task's span in it.
type run struct {
	env   map[string]string
	spool string
	code  int
	err   error
	// during, when set, is called between the task and Shutdown.
	during func()
}

// do runs r, checks that no goroutine is left, and returns the log and how long Shutdown took.
func (r run) do(t *testing.T) (*logged, time.Duration) {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	log := new(logged)
	ctx, traces := r.start(t, log)
	_, span := traces.Tracer().Start(ctx, "task")
	span.End()
	if r.during != nil {
		r.during()
	}
	began := time.Now()
	traces.Shutdown(t.Context(), r.code, r.err)
	return log, time.Since(began)
}

func (r run) start(t *testing.T, log *logged) (context.Context, *telemetry.Telemetry) {
	for name, value := range r.env {
		t.Setenv(name, value) // the SDK reads the process's environment
	}
	return telemetry.Start(t.Context(), telemetry.Options{
		Log:     slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "1.2.3",
		Spool:   r.spool,
	})
}

// to returns the variables that lead to r, and more.
func to(r *receiver, protocol string, more ...string) map[string]string {
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
	for _, entry := range more {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

func each(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) { test(t, protocol) })
	}
}

func TestRootSpanCarriesExitCodeAndResource(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		r := serve(t, new(receiver), protocol, nil)
		log, _ := run{
			code: 69, err: fault.New(fault.Unavailable, "wait-for: tcp://db:5432: refused"),
			env: to(r, protocol, "TRACEPARENT="+traceparent, "TRACESTATE=vendor=1", "POD_NAME=web-0", "K8S_POD_UID=u-1", "NODE_NAME=n1",
				"POD_NAMESPACE=shop", "CONTAINER_NAME=init", "OTEL_RESOURCE_ATTRIBUTES=team=blue,k8s.node.name=n2"),
		}.do(t)
		if got := log.warnings(); got != nil {
			t.Errorf("warnings: got %q, want none", got)
		}
		spans := r.spans()
		if got, want := r.names(), []string{"slipway", "task"}; !slices.Equal(got, want) {
			t.Fatalf("spans: got %q, want %q", got, want)
		}
		i := slices.IndexFunc(spans, func(s *tracepb.Span) bool { return s.GetName() == "slipway" })
		root, task := spans[i], spans[1-i]
		if got := fmt.Sprintf("%x %x %s", root.GetTraceId(), root.GetParentSpanId(), root.GetTraceState()); got != parentTrace+" "+parentSpan+" vendor=1" {
			t.Errorf("root's parent: got %s, want that of TRACEPARENT", got)
		}
		if !bytes.Equal(task.GetParentSpanId(), root.GetSpanId()) {
			t.Errorf("the task's parent: got %x, want the root %x", task.GetParentSpanId(), root.GetSpanId())
		}
		executable, _ := os.Executable()
		want := map[string]string{
			"error.type": "unavailable", "process.exit.code": "69", "process.pid": fmt.Sprint(os.Getpid()),
			"process.executable.name": filepath.Base(executable),
		}
		if got := attributes(root.GetAttributes()); !maps.Equal(got, want) {
			t.Errorf("root's attributes: got %v, want %v", got, want)
		}
		if got, want := root.GetStatus().String(), (&tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "wait-for: tcp://db:5432: refused"}).String(); got != want {
			t.Errorf("root's status: got %s, want %s", got, want)
		}
		if got := root.GetKind(); got != tracepb.Span_SPAN_KIND_INTERNAL {
			t.Errorf("root's kind: got %s, want internal", got)
		}
		got := attributes(r.requests[0].GetResourceSpans()[0].GetResource().GetAttributes())
		for key, want := range map[string]string{
			"service.name": "slipway", "service.version": "1.2.3", "k8s.pod.name": "web-0", "k8s.pod.uid": "u-1",
			"k8s.node.name": "n2", "k8s.namespace.name": "shop", "k8s.container.name": "init", "team": "blue",
			"process.pid": fmt.Sprint(os.Getpid()), "telemetry.sdk.name": "opentelemetry",
		} {
			if got[key] != want {
				t.Errorf("resource's %s: got %q, want %q", key, got[key], want)
			}
		}
		if got["process.command_args"] != "" {
			t.Errorf("the resource has the command's arguments: %q", got["process.command_args"])
		}
	})
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	values := make(map[string]string)
	for _, a := range list {
		switch value := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			values[a.GetKey()] = value.StringValue
		case *commonpb.AnyValue_IntValue:
			values[a.GetKey()] = fmt.Sprint(value.IntValue)
		default:
			values[a.GetKey()] = a.GetValue().String()
		}
	}
	return values
}

func TestHeadersAndCompression(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		r := serve(t, new(receiver), protocol, nil)
		log, _ := run{env: to(r, protocol, "OTEL_EXPORTER_OTLP_HEADERS=x-token=geheim%20nis,x-tenant=a",
			"OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_SERVICE_NAME=checkout")}.do(t)
		if got := log.warnings(); got != nil {
			t.Errorf("warnings: got %q, want none", got)
		}
		if len(r.headers) != 1 {
			t.Fatalf("requests: got %d, want 1", len(r.headers))
		}
		values := make(map[string][]string)
		for name, value := range r.headers[0] {
			values[strings.ToLower(name)] = value
		}
		if got, want := fmt.Sprint(values["x-token"], values["x-tenant"]), "[geheim nis] [a]"; got != want {
			t.Errorf("headers: got %s, want %s", got, want)
		}
		if got := attributes(r.requests[0].GetResourceSpans()[0].GetResource().GetAttributes())["service.name"]; got != "checkout" {
			t.Errorf("service.name: got %q, want that of OTEL_SERVICE_NAME", got)
		}
	})
}

func TestTLSAndClientCertificate(t *testing.T) {
	folder := t.TempDir()
	ca := newAuthority(t)
	caFile := writeFile(t, folder, "ca.pem", ca.pem)
	certificate, key := ca.issue(t, "slipway")
	certificateFile, keyFile := writeFile(t, folder, "cert.pem", certificate), writeFile(t, folder, "key.pem", key)
	config := &tls.Config{Certificates: []tls.Certificate{ca.pair(t)}, ClientCAs: ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2", "http/1.1"}}
	each(t, func(t *testing.T, protocol string) {
		r := serve(t, new(receiver), protocol, config)
		t.Run("trusted", func(t *testing.T) {
			log, _ := run{env: to(r, protocol, "OTEL_EXPORTER_OTLP_CERTIFICATE="+caFile,
				"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE="+certificateFile, "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY="+keyFile)}.do(t)
			if got, want := r.names(), []string{"slipway", "task"}; !slices.Equal(got, want) {
				t.Errorf("spans: got %q, want %q; log: %s", got, want, log)
			}
		})
		t.Run("unknown CA", func(t *testing.T) {
			other := writeFile(t, t.TempDir(), "ca.pem", newAuthority(t).pem)
			log, _ := run{env: to(r, protocol, "OTEL_EXPORTER_OTLP_CERTIFICATE="+other)}.do(t)
			if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "certificate") {
				t.Errorf("warnings: got %q, want one about the certificate", got)
			}
		})
	})
}

// A collector that is not there costs less than half a second and one warning. What is checked is the budget that the
// warning names or the refusal's own words, not the clock of a busy machine.
func TestDeadCollector(t *testing.T) {
	closed := listen(t)
	closed.Close()
	silent := listen(t) // the kernel completes connections, and nobody ever answers
	for name, c := range map[string]struct{ address, want string }{
		"refused":    {closed.Addr().String(), "connection refused"},
		"black hole": {silent.Addr().String(), "no sign of life within 400ms"},
		"no name":    {"collector.invalid:4317", "collector.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, protocol string) {
				log, took := run{env: to(&receiver{endpoint: "http://user:geheim@" + c.address}, protocol)}.do(t)
				got := log.warnings()
				if len(got) != 1 || !strings.Contains(got[0], "traces were not sent") || !strings.Contains(got[0], c.want) {
					t.Errorf("warnings: got %q, want one with %q", got, c.want)
				}
				if strings.Contains(log.String(), "geheim") {
					t.Errorf("the password is in the log: %s", log)
				}
				t.Logf("Shutdown took %s", took)
			})
		})
	}
}

func TestSlowCollectorIsWaitedFor(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		r := serve(t, &receiver{answer: after(time.Second)}, protocol, nil)
		log, _ := run{env: to(r, protocol)}.do(t)
		if got, want := r.names(), []string{"slipway", "task"}; !slices.Equal(got, want) || log.warnings() != nil {
			t.Errorf("spans: got %q, want %q; log: %s", got, want, log)
		}
	})
}

func TestCollectorThatIsTooSlowIsLeft(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		r := serve(t, &receiver{answer: after(time.Hour)}, protocol, nil)
		log, took := run{env: to(r, protocol)}.do(t)
		if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "no answer within 2s") {
			t.Errorf("warnings: got %q, want one", got)
		}
		t.Logf("Shutdown took %s", took)
	})
}

func TestSignalShortensTheWait(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		r := serve(t, &receiver{answer: after(time.Hour)}, protocol, nil)
		ended := fault.New(fault.Unavailable, "wait-for: %w", &fault.Signal{Signal: syscall.SIGTERM})
		log, _ := run{env: to(r, protocol), code: 143, err: ended}.do(t)
		// Both budgets end together then; which one is named does not matter.
		if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "within 400ms") {
			t.Errorf("warnings: got %q, want one", got)
		}
	})
}

// after answers after d, or when the client has gone.
func after(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
}

// A collector that comes up during the run gets all, also the spans of before.
func TestLateCollectorGetsAll(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		listener := listen(t)
		address := listener.Addr().String()
		listener.Close()
		r := &receiver{}
		env := to(&receiver{endpoint: "http://" + address}, protocol, "OTEL_BSP_SCHEDULE_DELAY=1")
		var log *logged
		run := run{env: env, during: func() {
			again, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			serveOn(t, r, protocol, nil, again)
		}}
		log = runIgnoringServer(t, run)
		if got, want := r.names(), []string{"slipway", "task"}; !slices.Equal(got, want) || log.warnings() != nil {
			t.Errorf("spans: got %q, want %q; log: %s", got, want, log)
		}
	})
}

// runIgnoringServer is run.do without the look for goroutines, which a server that starts during the run has too.
func runIgnoringServer(t *testing.T, r run) *logged {
	log := new(logged)
	ctx, traces := r.start(t, log)
	_, span := traces.Tracer().Start(ctx, "task")
	span.End()
	r.during()
	traces.Shutdown(t.Context(), r.code, r.err)
	return log
}

func TestRefusalIsFinal(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		refusal := error(status.Error(codes.Unauthenticated, "no token"))
		if protocol != "grpc" {
			refusal = httpStatus(401)
		}
		r := serve(t, &receiver{answer: func(context.Context) error { return refusal }}, protocol, nil)
		spool := t.TempDir()
		log, _ := run{env: to(r, protocol), spool: spool}.do(t)
		if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "spans=2") || !strings.Contains(strings.ToLower(got[0]), "una") {
			t.Errorf("warnings: got %q, want one that tells the refusal", got)
		}
		if got := files(t, spool); got != nil {
			t.Errorf("spool: got %q, want nothing", got)
		}
	})
}

func TestPartialSuccessIsNotSentAgain(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		r := serve(t, &receiver{rejects: 1}, protocol, nil)
		spool := t.TempDir()
		log, _ := run{env: to(r, protocol), spool: spool}.do(t)
		if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "too old") {
			t.Errorf("warnings: got %q, want one with the collector's words", got)
		}
		if got := files(t, spool); got != nil || len(r.requests) != 1 {
			t.Errorf("got spool %q and %d requests, want nothing and 1", got, len(r.requests))
		}
	})
}

func TestSpoolIsSentByTheNextRun(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		listener := listen(t)
		listener.Close()
		spool := filepath.Join(t.TempDir(), "spool")
		log, _ := run{env: to(&receiver{endpoint: "http://" + listener.Addr().String()}, protocol), spool: spool}.do(t)
		if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "kept=2") {
			t.Errorf("warnings: got %q, want one that says what was kept", got)
		}
		kept := files(t, spool)
		if len(kept) != 1 {
			t.Fatalf("spool: got %q, want one file", kept)
		}
		writeFile(t, spool, "0-not-protobuf.otlp", []byte("\xff\xff"))
		writeFile(t, spool, "README", []byte("not ours"))
		r := serve(t, new(receiver), protocol, nil)
		log, _ = run{env: to(r, protocol), spool: spool}.do(t)
		if got := log.warnings(); got != nil {
			t.Errorf("warnings: got %q, want none", got)
		}
		if got, want := r.names(), []string{"slipway", "slipway", "task", "task"}; !slices.Equal(got, want) {
			t.Errorf("spans: got %q, want %q", got, want)
		}
		if got, want := files(t, spool), []string{"README"}; !slices.Equal(got, want) {
			t.Errorf("spool: got %q, want %q", got, want)
		}
	})
}

func TestSpoolIsBounded(t *testing.T) {
	spool := t.TempDir()
	for i := range 5 {
		writeFile(t, spool, fmt.Sprintf("%020d-1.otlp", i), make([]byte, 4<<20))
	}
	listener := listen(t)
	listener.Close()
	run{env: to(&receiver{endpoint: "http://" + listener.Addr().String()}, "grpc"), spool: spool}.do(t)
	got := files(t, spool)
	if len(got) != 4 || got[0] != fmt.Sprintf("%020d-1.otlp", 2) {
		t.Errorf("spool: got %q, want the three newest and our own", got)
	}
}

func TestSpoolThatCannotBeWrittenIsTold(t *testing.T) {
	listener := listen(t)
	listener.Close()
	file := writeFile(t, t.TempDir(), "file", nil)
	log, _ := run{env: to(&receiver{endpoint: "http://" + listener.Addr().String()}, "grpc"), spool: file}.do(t)
	if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "not a directory") {
		t.Errorf("warnings: got %q, want one that names the spool", got)
	}
}

// Without a collector there is no span, no goroutine and no connection, but the caller's context is handed on.
func TestNothingConfigured(t *testing.T) {
	listener := listen(t)
	endpoint := "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + listener.Addr().String()
	for name, env := range map[string][]string{
		"nothing":  nil,
		"disabled": {endpoint, "OTEL_SDK_DISABLED=TRUE"},
		"none":     {endpoint, "OTEL_TRACES_EXPORTER=none"},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(logged)
			ignore := goleak.IgnoreCurrent()
			ctx, traces := run{env: to(new(receiver), "", append(env, "TRACEPARENT="+traceparent, "TRACESTATE=a=b")...)}.start(t, log)
			goleak.VerifyNone(t, ignore)
			ctx, span := traces.Tracer().Start(ctx, "task")
			if span.IsRecording() {
				t.Error("the span records")
			}
			if got := trace.SpanContextFromContext(ctx).TraceID().String(); got != parentTrace || traces.TraceID() != parentTrace {
				t.Errorf("trace: got %s and %s, want the caller's", got, traces.TraceID())
			}
			if got, want := string(traces.Carrier()), "TRACEPARENT="+traceparent+"\nTRACESTATE=a=b\n"; got != want {
				t.Errorf("carrier: got %q, want %q", got, want)
			}
			traces.Shutdown(ctx, 0, nil)
			if log.Len() != 0 {
				t.Errorf("log: got %s, want nothing", log)
			}
		})
	}
}

func TestCarrierIsTheRootSpan(t *testing.T) {
	r := serve(t, new(receiver), "http/protobuf", nil)
	_, traces := run{env: to(r, "http/protobuf", "TRACEPARENT="+traceparent, "TRACESTATE=vendor=a!b")}.start(t, new(logged))
	carrier := string(traces.Carrier())
	traces.Shutdown(t.Context(), 0, nil)
	traces.Shutdown(t.Context(), 1, nil) // the second does nothing
	spans := r.spans()
	if len(spans) != 1 {
		t.Fatalf("spans: got %d, want the root alone", len(spans))
	}
	if want := fmt.Sprintf("TRACEPARENT=00-%s-%x-01\nTRACESTATE='vendor=a!b'\n", parentTrace, spans[0].GetSpanId()); carrier != want {
		t.Errorf("carrier: got %q, want %q", carrier, want)
	}
	if got := spans[0].GetStatus().GetCode(); got != tracepb.Status_STATUS_CODE_OK {
		t.Errorf("status: got %s, want ok", got)
	}
}

func TestInvalidParentIsIgnored(t *testing.T) {
	log := new(logged)
	_, traces := run{env: map[string]string{"TRACEPARENT": "00-0-0-00"}}.start(t, log)
	if got := log.warnings(); got != nil || !strings.Contains(log.String(), "TRACEPARENT") {
		t.Errorf("log: got %s, want one line for developers", log)
	}
	if len(traces.Carrier()) != 0 || traces.TraceID() != "" {
		t.Errorf("got carrier %q and trace %q, want nothing", traces.Carrier(), traces.TraceID())
	}
}

func TestUnsampledParentIsKept(t *testing.T) {
	r := serve(t, new(receiver), "grpc", nil)
	run{env: to(r, "grpc", "TRACEPARENT="+strings.TrimSuffix(traceparent, "1")+"0")}.do(t)
	if got := r.names(); got != nil {
		t.Errorf("spans: got %q, want none", got)
	}
}

func TestSettingsThatCannotWorkAreOneWarning(t *testing.T) {
	folder := t.TempDir()
	empty := writeFile(t, folder, "empty.pem", nil)
	for _, c := range []struct {
		env  string
		want string
	}{
		{"OTEL_EXPORTER_OTLP_PROTOCOL=http/json", `OTEL_EXPORTER_OTLP_PROTOCOL: \"http/json\" is neither grpc nor http/protobuf`},
		{"OTEL_TRACES_EXPORTER=zipkin", `OTEL_TRACES_EXPORTER: \"zipkin\" is neither otlp nor none`},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collector:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: want http://host:port or https://host:port"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT=10s", `OTEL_EXPORTER_OTLP_TIMEOUT: \"10s\" is not a number of milliseconds`},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + folder + "/none", "OTEL_EXPORTER_OTLP_CERTIFICATE: open " + folder + "/none: no such file or directory"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + empty, "OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in " + empty},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY=" + empty, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY: one stands without the other"},
	} {
		t.Run(c.env, func(t *testing.T) {
			log := new(logged)
			_, traces := run{env: to(&receiver{endpoint: "http://127.0.0.1:1"}, "http/protobuf", c.env)}.start(t, log)
			traces.Shutdown(t.Context(), 0, nil)
			if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("warnings: got %q, want one with %q", got, c.want)
			}
		})
	}
}

// The SDK quotes what it cannot parse; the log must not.
func TestBrokenHeadersAreToldWithoutTheirValue(t *testing.T) {
	r := serve(t, new(receiver), "http/protobuf", nil)
	log, _ := run{env: to(r, "http/protobuf", "OTEL_EXPORTER_OTLP_HEADERS=Bearer geheim")}.do(t)
	if got := log.warnings(); len(got) != 1 || !strings.Contains(got[0], "parse headers") || strings.Contains(got[0], "geheim") {
		t.Errorf("warnings: got %q, want one without the value", got)
	}
}

func TestAddressWithoutScheme(t *testing.T) {
	r := serve(t, new(receiver), "grpc", nil)
	r.endpoint = strings.TrimPrefix(r.endpoint, "http://")
	log, _ := run{env: to(r, "grpc", "OTEL_EXPORTER_OTLP_INSECURE=true")}.do(t)
	if got, want := r.names(), []string{"slipway", "task"}; !slices.Equal(got, want) {
		t.Errorf("spans: got %q, want %q; log: %s", got, want, log)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func files(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func writeFile(t *testing.T, folder, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// authority is a CA of a test's own.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns certificate and key, in PEM, of a name on loopback.
func (a *authority) issue(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.certificate, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})
}

func (a *authority) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, "collector"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}
