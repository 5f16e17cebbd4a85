// Package waitfor is the step that waits until targets are there: ports, web pages, gRPC services, files, names,
// databases and objects in the cluster, all watched side by side.
//
// Each protocol has a file of its own with one function that looks once; the table of them all is in target.go. What
// a failed look means is decided in look.go, how often to look in pace.go.
package waitfor

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/kube"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

//go:embed help.md
var help string

// Kind is wait-for.
var Kind = step.Kind{
	Name:   "wait-for",
	Short:  "wait until ports, web pages, services, files, names, databases and objects in the cluster are there",
	Long:   help,
	Args:   []string{"target..."},
	Policy: step.Policy{Timeout: 5 * time.Minute, Retries: step.Forever, Parts: true, Pace: pace},
	New: func() step.Step {
		return &waitFor{
			stable:       1,
			lookTimeout:  5 * time.Second,
			method:       http.MethodGet,
			status:       success,
			minAddresses: 1,
		}
	},
}

// maxOutputs bounds how many targets say in the report how long they took.
const maxOutputs = 16

// maxDialled bounds how many targets are dialled, files aside: each takes up to 60 KB while it is looked at, and a
// container has 64 MiB.
const maxDialled = 500

// maxTargets bounds them all: a file that is missing takes 8 KB.
const maxTargets = 4000

// waitFor is the step with its options.
type waitFor struct {
	flags *pflag.FlagSet // to tell an option that was given from a default

	addresses   []string
	anyTarget   bool
	not         bool
	failFast    bool
	stable      int
	interval    time.Duration
	lookTimeout time.Duration

	caFile, certFile, keyFile string
	serverName                string
	insecure                  bool
	minValidity               time.Duration

	method      string
	status      statusSet
	headers     []string
	headersFrom []string
	bodyRegex   pattern
	jsonPath    jsonPath
	noRedirect  bool

	notEmpty     bool
	contentRegex pattern
	minAddresses int

	username     string
	passwordFrom opt.Ref

	// Effects fills these from the options above.
	targets []target
	header  httpx.Header
}

// Flags implements step.Step.
func (s *waitFor) Flags(fs *pflag.FlagSet) {
	s.flags = fs
	fs.StringSliceVar(&s.addresses, "target", nil, "what to wait for, such as tcp://db:5432")
	fs.BoolVar(&s.anyTarget, "any", s.anyTarget, "one target that is there is enough")
	fs.BoolVar(&s.not, "not", s.not, "wait until the targets are gone")
	fs.BoolVar(&s.failFast, "fail-fast", s.failFast, "fail at once for a cause that waiting rarely mends")
	fs.IntVar(&s.stable, "stable", s.stable, "number of looks in a row that must succeed")
	fs.DurationVar(&s.interval, "interval", s.interval, "constant time between looks (default: short at first, then 250ms)")
	fs.DurationVar(&s.lookTimeout, "look-timeout", s.lookTimeout, "time limit of each look")

	fs.StringVar(&s.caFile, "ca-file", s.caFile, "PEM file of the CAs to trust instead of the system's")
	fs.StringVar(&s.certFile, "cert-file", s.certFile, "PEM file of the client certificate")
	fs.StringVar(&s.keyFile, "key-file", s.keyFile, "PEM file of the client certificate's key")
	fs.StringVar(&s.serverName, "server-name", s.serverName, "name to ask for and to find in the certificate (default: the target's host)")
	fs.BoolVar(&s.insecure, "insecure-skip-tls-verify", s.insecure, "accept any certificate")
	fs.DurationVar(&s.minValidity, "min-validity", s.minValidity, "how long the certificate must be valid still")

	fs.StringVar(&s.method, "method", s.method, "HTTP method")
	fs.Var(&s.status, "status", "HTTP statuses and ranges that count as there, such as 200-299,304")
	fs.StringArrayVar(&s.headers, "header", nil, "HTTP header to send, 'Name: value'; repeats")
	fs.StringArrayVar(&s.headersFrom, "header-from", nil,
		"HTTP header from a secret, 'Name=env:VARIABLE', 'Name=file:PATH' or 'Name=Bearer file:PATH'; repeats")
	fs.Var(&s.bodyRegex, "body-regex", "regular expression that the HTTP body must match")
	fs.Var(&s.jsonPath, "json-path", "value that the HTTP body must hold as JSON, such as 'status=green' or '$.items[0].state=up'")
	fs.BoolVar(&s.noRedirect, "no-redirect", s.noRedirect, "judge a redirect itself instead of following it")

	fs.BoolVar(&s.notEmpty, "not-empty", s.notEmpty, "the file must hold something")
	fs.Var(&s.contentRegex, "content-regex", "regular expression that the file's content must match")
	fs.IntVar(&s.minAddresses, "min-addresses", s.minAddresses, "number of addresses that the name must have")

	fs.StringVar(&s.username, "username", s.username, "user to log in as (default: the one in the target)")
	fs.Var(&s.passwordFrom, "password-from", "password to log in with, env:VARIABLE or file:PATH")
}

// Tune implements step.Tuner: --interval makes the pace constant.
func (s *waitFor) Tune(p *step.Policy) {
	if s.interval > 0 {
		p.Pace = func(time.Duration) time.Duration { return s.interval }
	}
}

// Effects implements step.Step.
func (s *waitFor) Effects() ([]step.Effect, error) {
	faults := []error{s.parseTargets(), s.checkOptions()}
	var err error
	s.header, err = httpx.ParseHeader(s.headers, s.headersFrom)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	return s.effects(), nil
}

// parseTargets parses the targets, and looks for options that none of them heeds.
func (s *waitFor) parseTargets() error {
	s.targets = nil
	if len(s.addresses) == 0 {
		return fault.New(fault.Usage, "no target: name at least one, such as tcp://db:5432")
	}
	var faults []error
	dialled := 0
	for _, address := range s.addresses {
		t, err := parseTarget(address)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		s.targets = append(s.targets, t)
		if t.Scheme != "file" {
			dialled++
		}
	}
	if len(s.addresses) > maxTargets {
		return fault.New(fault.Usage, "%d targets: at most %d can be watched side by side", len(s.addresses), maxTargets)
	}
	if dialled > maxDialled {
		faults = append(faults, fault.New(fault.Usage, "%d targets are dialled: at most %d can be watched side by side", dialled, maxDialled))
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	for _, name := range s.unheeded() {
		faults = append(faults, fault.New(fault.Usage, "--%s has no effect on any of the targets", name))
	}
	return errors.Join(faults...)
}

// unheeded returns the given options that none of the targets heeds.
func (s *waitFor) unheeded() []string {
	heeded := make(map[string]bool)
	for _, t := range s.targets {
		for _, name := range t.scheme.heeds {
			heeded[name] = true
		}
	}
	var names []string
	s.flags.Visit(func(flag *pflag.Flag) {
		if schemeOptions[flag.Name] && !heeded[flag.Name] {
			names = append(names, flag.Name)
		}
	})
	return names
}

// checkOptions checks the values of the options, and those that exclude each other.
func (s *waitFor) checkOptions() error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	if s.stable < 1 {
		fail("--stable %d: at least 1 look must succeed", s.stable)
	}
	if s.interval < 0 {
		fail("--interval %s is negative", s.interval)
	}
	if s.lookTimeout <= 0 {
		fail("--look-timeout %s: a look needs some time", s.lookTimeout)
	}
	if s.minValidity < 0 {
		fail("--min-validity %s is negative", s.minValidity)
	}
	if s.minAddresses < 1 {
		fail("--min-addresses %d: a name that resolves has at least 1 address", s.minAddresses)
	}
	if (s.certFile == "") != (s.keyFile == "") {
		fail("--cert-file and --key-file go together")
	}
	if s.insecure && s.caFile != "" {
		fail("--ca-file says whom to trust, --insecure-skip-tls-verify to trust anybody")
	}
	if !httpx.IsToken(s.method) {
		fail("--method %q is not an HTTP method", s.method)
	}
	return errors.Join(faults...)
}

// effects returns what Run touches: the targets, and the files that the options name.
func (s *waitFor) effects() []step.Effect {
	var effects []step.Effect
	for _, t := range s.targets {
		if t.scheme.form != kubePath {
			effects = append(effects, t.effect())
		}
	}
	if s.asksCluster() {
		effects = append(effects, kube.Effects()...)
	}
	for _, name := range []string{s.caFile, s.certFile, s.keyFile} {
		if name != "" {
			effects = append(effects, step.Effect{Verb: step.Read, Object: name})
		}
	}
	effects = append(effects, s.header.Effects()...)
	return append(effects, s.passwordFrom.Effects()...)
}

// asksCluster reports whether some target is an object in the cluster.
func (s *waitFor) asksCluster() bool {
	return slices.ContainsFunc(s.targets, func(t target) bool { return t.scheme.form == kubePath })
}

// Run implements step.Step. Certificates and secrets are read once, before the first look, and one that is missing
// fails the step at once: it belongs to the options, not to what is waited for.
func (s *waitFor) Run(ctx context.Context, env *step.Env) error {
	eye, err := s.open(env)
	if err != nil {
		return err
	}
	defer eye.close()
	w := &watch{eye: eye, began: time.Now(), causes: make([]error, len(s.targets))}
	return w.all(ctx)
}

// watch is one wait for all targets.
type watch struct {
	*eye
	began time.Time

	mu     sync.Mutex
	there  int     // how many targets are there
	causes []error // of each target: why it is not there
	first  error   // the failure that came first, with its target
}

// all watches every target in a goroutine of its own and waits for them all. One failure ends the others; with --any,
// one success does.
func (w *watch) all(ctx context.Context) error {
	looking, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	for i, t := range w.targets {
		wait.Go(func() {
			err := w.one(looking, t)
			w.ended(i, err)
			if (err == nil) == w.anyTarget {
				cancel()
			}
		})
	}
	wait.Wait()
	return w.verdict(ctx)
}

// one looks at t until it has been there --stable times in a row.
func (w *watch) one(ctx context.Context, t target) error {
	row := 0
	return w.env.Retry(ctx, t.String(), func(ctx context.Context) error {
		if err := w.look(ctx, t); err != nil {
			row = 0
			return err
		}
		if row++; row < w.stable {
			return fault.New(fault.Unavailable, "only %d of %d looks in a row have succeeded", row, w.stable)
		}
		return nil
	})
}

// ended keeps what became of the i-th target.
func (w *watch) ended(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.targets[i]
	if err != nil {
		w.causes[i] = err
		if w.first == nil {
			w.first = fault.Hint(fault.New(fault.KindOf(err), "%s: %s", t, err), "%s", fault.HintOf(err))
		}
		return
	}
	w.there++
	w.env.Report(int64(w.there), int64(len(w.targets)))
	if w.there <= maxOutputs {
		w.env.Output("waited."+t.String(), time.Since(w.began).Round(time.Millisecond).String())
	}
}

// verdict returns nil if enough targets are there. While there was time left, the failure that ended the wait stands
// alone: the others were only cancelled. When time is up, all that are missing are named. The causes become text,
// because one that wraps the end of a context would be taken for that end.
func (w *watch) verdict(ctx context.Context) error {
	if w.there == len(w.targets) || (w.anyTarget && w.there > 0) {
		return nil
	}
	if !w.anyTarget && (ctx.Err() == nil || !fault.KindOf(w.first).Transient()) {
		return w.first
	}
	var (
		missing []string
		hint    string
	)
	for i, cause := range w.causes {
		if cause == nil {
			continue
		}
		text := cause.Error()
		if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
			text = "no answer yet"
		}
		missing = append(missing, fmt.Sprintf("%s: %s", w.targets[i], text))
		if hint == "" {
			hint = fault.HintOf(cause)
		}
	}
	count := ""
	if len(w.targets) > 1 {
		count = fmt.Sprintf("%d of %d targets: ", len(missing), len(w.targets))
	}
	return fault.Hint(fault.New(fault.KindOf(w.first), "%s%s", count, strings.Join(missing, "; ")), "%s", hint)
}
