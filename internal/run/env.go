package run

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/net/http/httpproxy"
	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// World is all that tasks may touch, before it is traced and given to one task as an Env.
type World struct {
	Log     *slog.Logger
	Root    string                                                            // see step.Env
	Environ []string                                                          // "NAME=value"; nil is empty
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // nil is net.Dialer's
	Chown   func(name string, uid, gid int) error                             // nil is os.Lchown
	ChownAt func(dir int, name string, uid, gid int) error                    // nil is fchownat(2), which follows no link
	Streams Streams                                                           // of child processes
}

// env returns the env of one task.
func (w *World) env(ctx context.Context, l *life) *step.Env {
	log := w.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dial := w.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	dial = l.tracedDial(dial)
	chown := w.Chown
	if chown == nil {
		chown = os.Lchown
	}
	chownAt := w.ChownAt
	if chownAt == nil {
		chownAt = func(dir int, name string, uid, gid int) error {
			return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
	environ := withTraceContext(ctx, w.Environ)
	return &step.Env{
		Log:     log.With("task", l.task.ID),
		Root:    w.Root,
		Getenv:  getenv(environ),
		Environ: func() []string { return append([]string(nil), environ...) },
		Dial:    dial,
		HTTP: &http.Client{
			Transport:     &tracedTransport{life: l, base: transport(dial, environ)},
			CheckRedirect: httpx.SameHost,
		},
		Exec: func(ctx context.Context, cmd *exec.Cmd) error {
			return execute(ctx, cmd, w.Streams, l.task.Policy.Grace)
		},
		Replace: func(cmd *exec.Cmd) error { return l.setReplacement(cmd) },
		Undo:    l.undo,
		Chown:   chown,
		ChownAt: chownAt,
		Retry: func(ctx context.Context, part string, attempt func(context.Context) error) error {
			return retrying(ctx, l.task.Policy, part, l.retry, l.counting(func(ctx context.Context) error {
				return recovering(ctx, attempt)
			}))
		},
		Report: l.progress,
		Output: l.output,
	}
}

// transport returns the HTTP transport below a task's client. Proxies come from the task's environment, not the
// process's.
func transport(dial func(context.Context, string, string) (net.Conn, error), environ []string) *http.Transport {
	lookup := getenv(environ)
	either := func(upper string) string {
		if value := lookup(upper); value != "" {
			return value
		}
		return lookup(strings.ToLower(upper))
	}
	proxies := httpproxy.Config{
		HTTPProxy: either("HTTP_PROXY"), HTTPSProxy: either("HTTPS_PROXY"), NoProxy: either("NO_PROXY"),
		CGI: lookup("REQUEST_METHOD") != "",
	}
	proxy := proxies.ProxyFunc()
	return &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:           dial,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		// Go's own bound of 10 MiB for each connection is more than a small container has.
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// getenv returns a lookup in environ; of a name given twice the last counts, as in execve's callers.
func getenv(environ []string) func(string) string {
	values := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			values[name] = value
		}
	}
	return func(name string) string { return values[name] }
}

// withTraceContext returns environ with TRACEPARENT and TRACESTATE of ctx's span, as OpenTelemetry's "environment
// variables as context propagation carriers" has it; without a span it returns environ as it is.
func withTraceContext(ctx context.Context, environ []string) []string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return environ
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	traced := make([]string, 0, len(environ)+2)
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "TRACEPARENT=") && !strings.HasPrefix(entry, "TRACESTATE=") {
			traced = append(traced, entry)
		}
	}
	for name, value := range carrier {
		traced = append(traced, strings.ToUpper(name)+"="+value)
	}
	return traced
}

// setReplacement keeps what the process shall become when the plan is done.
func (l *life) setReplacement(cmd *exec.Cmd) error {
	path, err := exec.LookPath(cmd.Path)
	if errors.Is(err, exec.ErrNotFound) {
		return fault.As(fault.NoInput, err)
	}
	if err != nil {
		return err
	}
	l.execution.mu.Lock()
	defer l.execution.mu.Unlock()
	l.replace = &Replacement{Path: path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir}
	return nil
}
