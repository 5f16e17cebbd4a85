package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
)

// seen is what a trace says of a span, in a form that compares.
type seen struct {
	Name, Parent string
	Kind         trace.SpanKind
	Status       codes.Code
	Message      string
	Attributes   map[string]string
	Events       []map[string]string
}

// traced runs nodes below a span called "root" and returns the spans below it: the tasks' first, each in
// the order of their ends.
func traced(t *testing.T, world run.World, nodes ...plan.Node) []seen {
	t.Helper()
	memory := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(memory))
	runner := run.Runner{World: world, Tracer: provider.Tracer("test")}
	ctx, root := runner.Tracer.Start(t.Context(), "root")
	runner.Run(ctx, &plan.Plan{Root: nodes})
	root.End()
	return read(memory.GetSpans())
}

func read(stubs tracetest.SpanStubs) []seen {
	names := make(map[trace.SpanID]string)
	for _, s := range stubs {
		names[s.SpanContext.SpanID()] = s.Name
	}
	var tasks, clients []seen
	for _, s := range stubs {
		span := seen{
			Name: s.Name, Parent: names[s.Parent.SpanID()], Kind: s.SpanKind, Status: s.Status.Code, Message: s.Status.Description,
			Attributes: values(s.Attributes),
		}
		for _, event := range s.Events {
			span.Events = append(span.Events, values(append(event.Attributes, attribute.String("name", event.Name))))
		}
		switch {
		case span.Name == "root":
		case span.Parent == "root":
			tasks = append(tasks, span)
		default:
			clients = append(clients, span)
		}
	}
	return append(tasks, clients...)
}

func values(attributes []attribute.KeyValue) map[string]string {
	values := make(map[string]string)
	for _, a := range attributes {
		values[string(a.Key)] = a.Value.String()
	}
	return values
}

func same(t *testing.T, got, want []seen) {
	t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("spans (- got, + want):\n%s", diff)
	}
}

func TestTaskSpanTellsWhatBecameOfTheTask(t *testing.T) {
	attempts := 0
	flaky := task("flaky", step.Policy{Retries: 3, Timeout: time.Minute}, func(_ context.Context, env *step.Env) error {
		if attempts++; attempts < 3 {
			return fault.New(fault.Temporary, "attempt %d", attempts)
		}
		env.Output("commit", "abc")
		return nil
	})
	flaky.ID = "flaky#2"
	got := traced(t, run.World{}, flaky, task("bad", step.Policy{}, always(fault.New(fault.Data, "sha256 differs"))))
	for _, event := range got[0].Events {
		delete(event, "slipway.retry.delay") // has jitter
	}
	same(t, got, []seen{
		{
			Name: "flaky", Parent: "root", Kind: trace.SpanKindInternal, Status: codes.Ok,
			Attributes: map[string]string{
				"slipway.task.id": "flaky#2", "slipway.step.name": "flaky", "slipway.task.state": "done", "slipway.task.attempts": "3",
				"slipway.output.commit": "abc",
			},
			Events: []map[string]string{
				{"name": "retry", "slipway.retry.attempt": "1", "error.type": "temporary", "exception.message": "attempt 1"},
				{"name": "retry", "slipway.retry.attempt": "2", "error.type": "temporary", "exception.message": "attempt 2"},
			},
		},
		{
			Name: "bad", Parent: "root", Kind: trace.SpanKindInternal, Status: codes.Error, Message: "bad: sha256 differs",
			Attributes: map[string]string{
				"slipway.task.id": "bad", "slipway.step.name": "bad", "slipway.task.state": "failed", "slipway.task.attempts": "1",
				"error.type": "data",
			},
		},
	})
}

func TestRetryOfAPartNamesIt(t *testing.T) {
	first := true
	got := traced(t, run.World{}, task("parts", step.Policy{Retries: 1, Parts: true}, func(ctx context.Context, env *step.Env) error {
		return env.Retry(ctx, "tcp://db:5432", func(context.Context) error {
			if first {
				first = false
				return fault.New(fault.Unavailable, "refused")
			}
			return nil
		})
	}))
	if len(got) != 1 || len(got[0].Events) != 1 || got[0].Events[0]["slipway.retry.part"] != "tcp://db:5432" {
		t.Errorf("got %+v, want one span with one retry of the part", got)
	}
}

func TestOnlyTheCulpritIsAnError(t *testing.T) {
	began := make(chan struct{})
	waiting := task("waiting", step.Policy{}, func(ctx context.Context, env *step.Env) error {
		close(began)
		return untilEnd(ctx, env)
	})
	culprit := task("culprit", step.Policy{}, func(context.Context, *step.Env) error {
		<-began
		return fault.New(fault.NoInput, "no such ref")
	})
	got := traced(t, run.World{}, plan.Parallel{waiting, culprit})
	slices.SortFunc(got, func(a, b seen) int { return strings.Compare(a.Name, b.Name) })
	same(t, got, []seen{
		{
			Name: "culprit", Parent: "root", Kind: trace.SpanKindInternal, Status: codes.Error, Message: "culprit: no such ref",
			Attributes: map[string]string{
				"slipway.task.id": "culprit", "slipway.step.name": "culprit", "slipway.task.state": "failed", "slipway.task.attempts": "1",
				"error.type": "no-input",
			},
		},
		{
			Name: "waiting", Parent: "root", Kind: trace.SpanKindInternal, Status: codes.Unset,
			Attributes: map[string]string{
				"slipway.task.id": "waiting", "slipway.step.name": "waiting", "slipway.task.state": "cancelled", "slipway.task.attempts": "1",
				"error.type": "cancelled",
			},
		},
	})
}

func TestTasksThatNeverBeganHaveNoSpan(t *testing.T) {
	got := traced(t, run.World{}, task("bad", step.Policy{}, always(fault.New(fault.Data, "no"))), task("never", step.Policy{}, always(nil)))
	if len(got) != 1 {
		t.Errorf("got %+v, want one span", got)
	}
}

func TestRequestIsAClientSpanWithItsDialBelow(t *testing.T) {
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	address, _ := url.Parse(server.URL)
	got := traced(t, run.World{}, task("fetch", step.Policy{}, func(ctx context.Context, env *step.Env) error {
		if err := request(ctx, env, "GET", server.URL+"/a?signature=geheim"); err != nil {
			return err
		}
		return request(ctx, env, "PURGE", strings.Replace(server.URL, "http://", "http://user:geheim@", 1)+"/missing")
	}))
	port := address.Port()
	with := func(attributes map[string]string) map[string]string {
		maps.Copy(attributes, map[string]string{"server.address": "127.0.0.1", "server.port": port})
		return attributes
	}
	same(t, got[1:], []seen{
		{
			Name: "dial", Parent: "GET", Kind: trace.SpanKindClient,
			Attributes: with(map[string]string{"network.transport": "tcp", "network.peer.address": "127.0.0.1", "network.peer.port": port}),
		},
		{
			Name: "GET", Parent: "fetch", Kind: trace.SpanKindClient,
			Attributes: with(map[string]string{"http.request.method": "GET", "url.full": server.URL + "/a?…", "http.response.status_code": "200"}),
		},
		{
			Name: "HTTP", Parent: "fetch", Kind: trace.SpanKindClient, Status: codes.Error,
			Attributes: with(map[string]string{
				"http.request.method": "_OTHER", "http.request.method_original": "PURGE", "error.type": "404", "http.response.status_code": "404",
				"url.full": strings.Replace(server.URL, "http://", "http://user:xxxxx@", 1) + "/missing",
			}),
		},
	})
	if fields := strings.Split(header.Get("Traceparent"), "-"); len(fields) != 4 || fields[3] != "01" {
		t.Errorf("traceparent: got %q, want a sampled one", header.Get("Traceparent"))
	}
}

func request(ctx context.Context, env *step.Env, method, target string) error {
	r, err := http.NewRequestWithContext(ctx, method, target, http.NoBody)
	if err != nil {
		return err
	}
	response, err := env.HTTP.Do(r)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func TestDialsAreClientSpans(t *testing.T) {
	socket := t.TempDir() + "/s"
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	refuse := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network == "unix" {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		return nil, fault.New(fault.Unavailable, "connection refused")
	}
	got := traced(t, run.World{Dial: refuse}, task("wait", step.Policy{}, func(ctx context.Context, env *step.Env) error {
		conn, err := env.Dial(ctx, "unix", socket)
		if err != nil {
			return err
		}
		_, refused := env.Dial(ctx, "tcp4", "db:5432")
		return errors.Join(conn.Close(), refused)
	}))
	same(t, got[1:], []seen{
		{
			Name: "dial", Parent: "wait", Kind: trace.SpanKindClient,
			Attributes: map[string]string{"network.transport": "unix", "server.address": socket},
		},
		{
			Name: "dial", Parent: "wait", Kind: trace.SpanKindClient, Status: codes.Error, Message: "connection refused",
			Attributes: map[string]string{
				"network.transport": "tcp", "server.address": "db", "server.port": "5432", "error.type": "unavailable",
			},
		},
	})
}

// A wait that looks hundreds of times keeps sixteen failed looks and every successful one, and no span without
// its parent.
func TestFailedClientSpansAreBounded(t *testing.T) {
	const looks = 40
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // so that each look dials
		if n++; n < looks {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	got := traced(t, run.World{}, task("wait", step.Policy{}, func(ctx context.Context, env *step.Env) error {
		for range looks {
			if err := request(ctx, env, "GET", server.URL); err != nil {
				return err
			}
		}
		return nil
	}))
	counts := make(map[string]int)
	for _, span := range got {
		counts[span.Name+" below "+span.Parent+" "+span.Attributes["http.response.status_code"]]++
	}
	want := map[string]int{"wait below root ": 1, "GET below wait 503": 16, "GET below wait 200": 1, "dial below GET ": 16}
	if diff := cmp.Diff(counts, want); diff != "" {
		t.Errorf("spans (- got, + want):\n%s", diff)
	}
}

func TestClientSpansAreBounded(t *testing.T) {
	const most, requests = 256, 300
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer server.Close()
	got := traced(t, run.World{}, task("fetch", step.Policy{}, func(ctx context.Context, env *step.Env) error {
		for range requests {
			if err := request(ctx, env, "GET", server.URL); err != nil {
				return err
			}
		}
		return nil
	}))
	if len(got) != 1+most {
		t.Errorf("got %d spans, want the task's and %d below it", len(got), most)
	}
	clients, left := 0, got[0].Attributes["slipway.client_spans.left_out"]
	for _, span := range got[1:] {
		if span.Parent != "fetch" && span.Parent != "GET" {
			t.Errorf("a %s is below %q", span.Name, span.Parent)
		}
		if span.Name == "GET" {
			clients++
		}
	}
	// A dial has a span of its own.
	if dials := most - clients; left != strconv.Itoa(requests+dials-most) {
		t.Errorf("%s spans were left out by its own word, of %d requests and %d dials", left, requests, dials)
	}
}

// A request whose dial was told of is told of too, though others used the bound up before it failed.
func TestNoSpanLosesItsParentToTheBound(t *testing.T) {
	const more = 40
	busy, used := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(busy)
		<-used
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	got := traced(t, run.World{}, task("wait", step.Policy{}, func(ctx context.Context, env *step.Env) error {
		answered := make(chan error)
		go func() { answered <- request(ctx, env, "GET", server.URL) }()
		<-busy
		for range more {
			if _, err := env.Dial(ctx, "unix", "/nowhere"); err == nil {
				return errors.New("there is a socket /nowhere")
			}
		}
		close(used)
		return <-answered
	}))
	counts := make(map[string]int)
	for _, span := range got {
		counts[span.Name+" below "+span.Parent]++
	}
	want := map[string]int{"wait below root": 1, "GET below wait": 1, "dial below GET": 1, "dial below wait": 16}
	if diff := cmp.Diff(counts, want); diff != "" {
		t.Errorf("spans (- got, + want):\n%s", diff)
	}
}

// What comes after slipway sees slipway's span as its parent, and the caller's when slipway makes none.
func TestTraceContextIsHandedOn(t *testing.T) {
	parent := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true,
		TraceState: must(trace.ParseTraceState("vendor=1")),
	})
	provider := sdktrace.NewTracerProvider()
	for name, c := range map[string]struct {
		tracer trace.Tracer
		same   bool // the span handed on is the caller's
	}{
		"with spans":    {provider.Tracer("test"), false},
		"without spans": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			var header string
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header = r.Header.Get("Traceparent") }))
			defer server.Close()
			var out bytes.Buffer
			var environment string
			runner := run.Runner{Tracer: c.tracer, World: run.World{
				Environ: []string{"TRACEPARENT=of the caller", "TRACESTATE=vendor=1", "PATH=/usr/bin:/bin"},
				Streams: run.Streams{Out: &out},
			}}
			ctx := trace.ContextWithRemoteSpanContext(t.Context(), parent)
			result := runner.Run(ctx, &plan.Plan{Root: plan.Sequence{task("exec", step.Policy{}, func(ctx context.Context, env *step.Env) error {
				environment = env.Getenv("TRACEPARENT")
				cmd := exec.Command("/bin/sh", "-c", `echo "$TRACEPARENT $TRACESTATE"`)
				cmd.Env = env.Environ()
				return errors.Join(env.Exec(ctx, cmd), request(ctx, env, "GET", server.URL))
			})}})
			if result.Err != nil {
				t.Fatal(result.Err)
			}
			child, state, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
			if child != environment || state != "vendor=1" {
				t.Errorf("child: got %q and %q, want %q and the caller's state", child, state, environment)
			}
			callers := fmt.Sprintf("00-%s-%s-01", parent.TraceID(), parent.SpanID())
			if got := child == callers && header == callers; got != c.same || !strings.HasPrefix(child, callers[:36]) || !strings.HasPrefix(header, callers[:36]) {
				t.Errorf("child %q, request %q: want the trace of %q and the same span: %s", child, header, callers, strconv.FormatBool(c.same))
			}
		})
	}
}

// must returns value; the test's own constants are right.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
