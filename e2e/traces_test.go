package e2e

import (
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/spans"
)

// The trace context that slipway's own caller hands to it.
const (
	callerTrace  = "0af7651916cd43dd8448eb211c80319c"
	callerSpan   = "b7ad6b7169203331"
	callerParent = "00-" + callerTrace + "-" + callerSpan + "-01"
)

// endpoint is the environment that sends traces to a collector.
func endpoint(protocol, url string) []string {
	return []string{"OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_EXPORTER_OTLP_ENDPOINT=" + url}
}

// A chain that waits, fails once, and succeeds is one trace: read back from a real collector over both protocols, and
// compared as a whole.
func TestTraceOfARun(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := servers.StartCollector(t)
			n := servers.StartNginx(t, "", "location / { return 200 ok; }")
			url := map[string]string{"grpc": c.GRPC, "http/protobuf": c.HTTP}[protocol]
			dir := t.TempDir()
			// The command fails once, and leaves what it was given as trace context.
			script := `echo "$TRACEPARENT" > child; test -e tried || { : > tried; exit 1; }`
			r := slipway.Command{
				Args: []string{
					"--traceparent-file", filepath.Join(dir, "context"),
					"wait-for", "--name", "web", "http://" + n.Addr + "/health", "then", "mkdir", filepath.Join(dir, "data"),
					"then", "exec", "--retries", "1", "--backoff", "1ms", "--dir", dir, "--", "sh", "-c", script,
				},
				Env: append(endpoint(protocol, url), "TRACEPARENT="+callerParent, "TRACESTATE=vendor=1",
					"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=e2e", "POD_NAME=web-0", "POD_NAMESPACE=shop",
					"NODE_NAME=node-7", "POD_UID=4f1c"),
			}.Run(t)
			expect(t, r, 0, "trace-id="+callerTrace)

			trace := spans.Read(t, c.Received(t))
			got := trace.Tree("process.pid", "slipway.retry.delay", "slipway.output.waited")
			got = strings.NewReplacer(strings.TrimPrefix(n.Addr, "127.0.0.1:"), "PORT", dir, "DIR").Replace(got)
			want := strings.TrimPrefix(`
slipway internal ok {process.executable.name=slipway process.exit.code=0 process.pid=…}
  wait-for internal ok {slipway.output.waited.http://127.0.0.1:PORT/health=… slipway.step.name=wait-for slipway.task.attempts=1 slipway.task.id=web slipway.task.state=done}
    GET client unset {http.request.method=GET http.response.status_code=200 server.address=127.0.0.1 server.port=PORT url.full=http://127.0.0.1:PORT/health}
      dial client unset {network.peer.address=127.0.0.1 network.peer.port=PORT network.transport=tcp server.address=127.0.0.1 server.port=PORT}
  mkdir internal ok {slipway.output.changed=1 slipway.step.name=mkdir slipway.task.attempts=1 slipway.task.id=mkdir slipway.task.state=done}
  exec internal ok {slipway.output.exit-status=0 slipway.step.name=exec slipway.task.attempts=2 slipway.task.id=exec slipway.task.state=done}
    ! retry {error.type=temporary exception.message=sh: exit status 1 slipway.retry.attempt=1 slipway.retry.delay=…}
`, "\n")
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}

			root := trace.Roots()[0]
			if len(trace.Roots()) != 1 || root.TraceID != callerTrace || root.ParentID != callerSpan {
				t.Errorf("the root span is %+v; it should be the caller's child", root)
			}
			exec := trace.Find(t, "exec")
			if got, want := read(t, filepath.Join(dir, "child")), "00-"+callerTrace+"-"+exec.ID+"-01\n"; got != want {
				t.Errorf("the child's TRACEPARENT: got %q, want %q", got, want)
			}
			handed := "TRACEPARENT=00-" + callerTrace + "-" + root.ID + "-01\nTRACESTATE=vendor=1\n"
			if got := read(t, filepath.Join(dir, "context")); got != handed {
				t.Errorf("the file for the application: got %q, want %q", got, handed)
			}
			for key, want := range map[string]string{
				"service.name": "slipway", "k8s.pod.name": "web-0", "k8s.namespace.name": "shop", "k8s.node.name": "node-7",
				"k8s.pod.uid": "4f1c", "deployment.environment.name": "e2e", "process.executable.name": "slipway",
			} {
				if got := trace.Resource[key]; got != want {
					t.Errorf("resource %s: got %q, want %q", key, got, want)
				}
			}
		})
	}
}

// A failure is told by the status and the error type of its span and of the root.
func TestTraceOfAFailure(t *testing.T) {
	t.Parallel()
	c := servers.StartCollector(t)
	port := servers.FreePort(t)
	r := slipway.Command{
		Args: []string{"wait-for", "--timeout", "300ms", "tcp://127.0.0.1:" + port, "then", "mkdir", t.TempDir()},
		Env:  endpoint("grpc", c.GRPC),
	}.Run(t)
	expect(t, r, 69)
	trace := spans.Read(t, c.Received(t))
	root, wait := trace.Find(t, "slipway"), trace.Find(t, "wait-for")
	for _, s := range []*spans.Span{root, wait} {
		if !strings.HasPrefix(s.Status, "error: ") || !strings.Contains(s.Status, "timed out after 300ms") ||
			!strings.Contains(s.Status, "connection refused") || s.Attributes["error.type"] != "unavailable" {
			t.Errorf("%s: got status %q and error.type %q", s.Name, s.Status, s.Attributes["error.type"])
		}
	}
	if got := root.Attributes["process.exit.code"]; got != "69" {
		t.Errorf("process.exit.code: got %s, want 69", got)
	}
	if len(wait.Events) == 0 {
		t.Fatal("no retry events")
	}
	for _, e := range wait.Events {
		if e.Name != "retry" || e.Attributes["error.type"] != "unavailable" || e.Attributes["slipway.retry.part"] == "" {
			t.Errorf("got event %+v", e)
		}
	}
	if !strings.Contains(r.Report, "trace-id="+root.TraceID) {
		t.Errorf("the report does not name trace %s:\n%s", root.TraceID, r.Report)
	}
}

// A target's secrets are in no span.
func TestTraceHidesSecrets(t *testing.T) {
	t.Parallel()
	c := servers.StartCollector(t)
	p := servers.StartRedis(t, pki.Pair{})
	n := servers.StartNginx(t, "", "location / { return 200 ok; }")
	r := slipway.Command{
		Args: []string{
			"wait-for", "--header-from", "Authorization=env:TOKEN", "http://" + n.Addr + "/?signature=s3cret",
			"then", "wait-for", "--password-from", "env:SECRET", "redis://" + p.Addr,
		},
		Env: append(endpoint("http/protobuf", c.HTTP), "SECRET="+servers.Password, "TOKEN=t0ken"),
	}.Run(t)
	expect(t, r, 0)
	received := strings.Join(c.Received(t), "\n")
	for _, secret := range []string{servers.Password, "s3cret", "t0ken"} {
		hides(t, r, secret)
		if strings.Contains(received, secret) {
			t.Errorf("the collector received %q", secret)
		}
	}
}

// A collector that is not there costs one warning and little time, and never the exit code.
func TestDeadCollector(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(t *testing.T) string{
		"refused":           func(t *testing.T) string { return "127.0.0.1:" + servers.FreePort(t) },
		"accepts and waits": func(t *testing.T) string { return blackHole(t) },
		"unroutable":        func(*testing.T) string { return "192.0.2.1:4317" }, // TEST-NET-1: nobody answers there
		"no such name":      func(*testing.T) string { return "collector.invalid:4317" },
	} {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				chain := []string{"mkdir", filepath.Join(t.TempDir(), "a")}
				without := slipway.Run(t, chain...)
				r := slipway.Command{Args: chain, Env: endpoint(protocol, "http://"+address(t))}.Run(t)
				expect(t, r, 0)
				if got := warnings(t, r.Stderr); got != 1 {
					t.Errorf("got %d warnings, want 1:\n%s", got, r.Stderr)
				}
				added := r.Elapsed - without.Elapsed
				t.Logf("%s added", added.Round(time.Millisecond))
				if added > 5*time.Second {
					t.Errorf("the collector cost %s", added)
				}
			})
		}
	}
}

// What a dead collector did not take arrives with the next run's trace, once.
func TestSpooledTraceArrivesWithTheNextRun(t *testing.T) {
	t.Parallel()
	c := servers.StartCollector(t)
	spool, dir := t.TempDir(), t.TempDir()
	run := func(name, url string) {
		t.Helper()
		r := slipway.Command{
			Args: []string{"--telemetry-spool", spool, "mkdir", "--name", name, filepath.Join(dir, "a")},
			Env:  endpoint("http/protobuf", url),
		}.Run(t)
		expect(t, r, 0)
	}
	run("first", "http://127.0.0.1:"+servers.FreePort(t))
	if got := names(t, spool); len(got) != 1 {
		t.Errorf("the spool holds %q; want the one trace that was not sent", got)
	}
	run("second", c.HTTP)
	if got := names(t, spool); len(got) > 0 {
		t.Errorf("the spool still holds %q", got)
	}
	run("third", c.HTTP)
	var tasks []string
	for _, s := range spans.Read(t, c.Received(t)).Spans {
		if s.Name == "mkdir" {
			tasks = append(tasks, s.Attributes["slipway.task.id"])
		}
	}
	if want := []string{"first", "second", "third"}; !slices.Equal(tasks, want) {
		t.Errorf("the collector received %q, want %q", tasks, want)
	}
}

// Without a collector there is no socket at all, even though OpenTelemetry's default endpoint is localhost.
func TestNoCollectorMeansNoNetwork(t *testing.T) {
	t.Parallel()
	calls := traced(t, slipway.Command{Args: []string{"mkdir", filepath.Join(t.TempDir(), "a")}}, "network")
	if len(calls) > 0 {
		t.Errorf("got network calls:\n%s", strings.Join(calls, "\n"))
	}
}

// blackHole returns the address of a listener that accepts and never answers.
func blackHole(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// warnings counts the lines of a JSON log at level WARN or above.
func warnings(t *testing.T, log string) int {
	t.Helper()
	count := 0
	for line := range strings.Lines(log) {
		var entry struct{ Level string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("not a line of JSON: %q", line)
		}
		if entry.Level == "WARN" || entry.Level == "ERROR" {
			count++
		}
	}
	return count
}
