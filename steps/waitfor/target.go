package waitfor

import (
	"context"
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/kube"
	"github.com/slipway-init/slipway/internal/step"
)

// scheme is one kind of target. Its look returns nil if the target is there, an error marked as gone if it is
// certainly not, and any other error if that cannot be told.
type scheme struct {
	look func(ctx context.Context, e *eye, t target) error
	form form
	port string // the default port; "" if the target must name one
	// heeds are the options that matter to this scheme, of those that do not matter to all.
	heeds []string
	// query holds the keys that the target's query may have, each with a check of its value; nil takes any query.
	query map[string]func(value string) bool
	user  bool // the target may name a user
	// check returns what else is wrong with a target, "" if nothing is; nil checks nothing.
	check func(t target) string
}

// form is what stands behind "scheme://".
type form int

const (
	hostPort form = iota // host:port
	hostPath             // host:port/path
	filePath             // /path
	name                 // a name alone
	kubePath             // namespace/kind/name
)

var schemes = map[string]scheme{
	"tcp":        {look: lookTCP},
	"tls":        {look: lookTLS, heeds: tlsOptions},
	"unix":       {look: lookUnix, form: filePath},
	"file":       {look: lookFile, form: filePath, heeds: fileOptions},
	"dns":        {look: lookDNS, form: name, heeds: dnsOptions, query: dnsQuery},
	"http":       {look: lookHTTP, form: hostPath, port: "80", heeds: httpOptions},
	"https":      {look: lookHTTP, form: hostPath, port: "443", heeds: httpOptions},
	"grpc":       {look: lookGRPC, form: hostPath, query: noQuery},
	"grpcs":      {look: lookGRPC, form: hostPath, query: noQuery, heeds: tlsOptions},
	"postgres":   {look: lookPostgres, form: hostPath, port: "5432", query: postgresQuery, heeds: databaseOptions, user: true},
	"postgresql": {look: lookPostgres, form: hostPath, port: "5432", query: postgresQuery, heeds: databaseOptions, user: true},
	"mysql":      {look: lookMySQL, form: hostPath, port: "3306", query: mysqlQuery, heeds: databaseOptions, user: true},
	"mariadb":    {look: lookMySQL, form: hostPath, port: "3306", query: mysqlQuery, heeds: databaseOptions, user: true},
	"redis":      {look: lookRedis, form: hostPath, port: "6379", query: noQuery, heeds: loginOptions, user: true},
	"rediss":     {look: lookRedis, form: hostPath, port: "6379", query: noQuery, heeds: databaseOptions, user: true},
	"k8s":        {look: lookKube, form: kubePath, query: kubeQuery, check: checkObject},
}

// The options that matter to some schemes alone.
var (
	tlsOptions      = []string{"ca-file", "cert-file", "key-file", "server-name", "insecure-skip-tls-verify", "min-validity"}
	httpOptions     = append(slices.Clone(tlsOptions), "method", "status", "header", "header-from", "body-regex", "json-path", "no-redirect")
	fileOptions     = []string{"not-empty", "content-regex"}
	dnsOptions      = []string{"min-addresses"}
	loginOptions    = []string{"username", "password-from"}
	databaseOptions = append(slices.Clone(tlsOptions), loginOptions...)
)

// schemeOptions holds the options of the lists above.
var schemeOptions = func() map[string]bool {
	set := make(map[string]bool)
	for _, list := range [][]string{httpOptions, fileOptions, dnsOptions, databaseOptions} {
		for _, name := range list {
			set[name] = true
		}
	}
	return set
}()

// noQuery takes no key at all.
var noQuery = map[string]func(string) bool{}

// target is one parsed target.
type target struct {
	*url.URL
	scheme scheme
	shown  string // as it may be printed
}

// String returns the target as it may be printed: without what may be secret.
func (t target) String() string { return t.shown }

// host returns the host without its port.
func (t target) host() string { return t.Hostname() }

// address returns "host:port".
func (t target) address() string {
	port := t.Port()
	if port == "" {
		port = t.scheme.port
	}
	return net.JoinHostPort(t.Hostname(), port)
}

// under returns the path without its leading slash: a database, a service.
func (t target) under() string { return strings.TrimPrefix(t.Path, "/") }

// effect returns what looking at t touches; what all targets in the cluster share is not in it.
func (t target) effect() step.Effect {
	switch {
	case t.Scheme == "file":
		return step.Effect{Verb: step.Read, Object: t.Path}
	case t.Scheme == "unix":
		return step.Effect{Verb: step.Dial, Object: "unix://" + t.Path}
	case t.Scheme == "dns":
		return step.Effect{Verb: step.Dial, Object: "dns://" + t.Host}
	}
	if t.scheme.form == kubePath {
		return step.Effect{Verb: step.Dial, Object: "store:$" + kube.HostVariable}
	}
	return step.Effect{Verb: step.Dial, Object: "tcp://" + t.address()}
}

// parseTarget parses one target. Its error never repeats what may be a password.
func parseTarget(text string) (target, error) {
	u, err := url.Parse(text)
	if err == nil {
		_, err = url.Parse(u.String()) // a zone that url.Parse takes, and would not take from itself
	}
	if err != nil {
		return target{}, malformed(text, "it is not a URL")
	}
	s, known := schemes[u.Scheme]
	if !known {
		return target{}, fault.Hint(malformed(text, "its scheme is not known"),
			"write one of %s", strings.Join(slices.Sorted(maps.Keys(schemes)), ", "))
	}
	t := target{URL: u, scheme: s, shown: httpx.Redact(u)}
	if s.query != nil {
		t.shown = u.Redacted()
	}
	if _, given := u.User.Password(); given {
		return target{}, fault.Hint(malformed(text, "it holds a password"),
			"give the password by reference: --password-from env:NAME or file:PATH")
	}
	if u.User != nil && !s.user {
		return target{}, malformed(text, "it takes no user")
	}
	if u.Opaque != "" || u.Fragment != "" {
		return target{}, malformed(text, "it is not of the form "+s.form.example(u.Scheme))
	}
	if !s.form.fits(u) {
		return target{}, malformed(text, "it is not of the form "+s.form.example(u.Scheme))
	}
	if u.Port() == "" && s.port == "" && (s.form == hostPort || s.form == hostPath) {
		return target{}, malformed(text, "it names no port")
	}
	if err := t.checkQuery(text); err != nil {
		return target{}, err
	}
	if s.check != nil {
		if reason := s.check(t); reason != "" {
			return target{}, malformed(text, reason)
		}
	}
	return t, nil
}

// checkQuery checks the query's keys and values.
func (t target) checkQuery(text string) error {
	if t.scheme.query == nil {
		if t.scheme.form != hostPath && t.RawQuery != "" {
			return malformed(text, "it takes no query")
		}
		return nil
	}
	values, err := url.ParseQuery(t.RawQuery)
	if err != nil {
		return malformed(text, "its query cannot be read")
	}
	for key, given := range values {
		check, known := t.scheme.query[key]
		if !known {
			return malformed(text, "it takes no "+strconv.Quote(key))
		}
		if len(given) != 1 || !check(given[0]) {
			return malformed(text, strconv.Quote(given[0])+" is no value for "+strconv.Quote(key))
		}
	}
	return nil
}

// fits reports whether u has the form f.
func (f form) fits(u *url.URL) bool {
	switch f {
	case filePath:
		return u.Host == "" && path.IsAbs(u.Path) && len(u.Path) > 1 && !strings.ContainsRune(u.Path, 0)
	case kubePath:
		return u.Host != "" && strings.Count(u.Path, "/") == 2
	case name:
		return u.Hostname() != "" && u.Port() == "" && !strings.HasSuffix(u.Host, ":") && u.Path == ""
	}
	if u.Hostname() == "" || !isPort(u) {
		return false
	}
	return f == hostPath || u.Path == ""
}

// isPort reports whether u's port, if it has one, is one that can be dialled.
func isPort(u *url.URL) bool {
	if strings.HasSuffix(u.Host, ":") {
		return false
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || (err == nil && n > 0)
}

// example shows f for people.
func (f form) example(scheme string) string {
	switch f {
	case filePath:
		return scheme + ":///path"
	case kubePath:
		return scheme + "://namespace/kind/name"
	case name:
		return scheme + "://name"
	case hostPath:
		return scheme + "://host:port/…"
	}
	return scheme + "://host:port"
}

// malformed returns the fault of a target, of which it prints neither user nor query.
func malformed(text, reason string) error {
	if before, _, cut := strings.Cut(text, "?"); cut {
		text = before + "?…"
	}
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		scheme, _, ok := strings.Cut(text[:at], "://")
		if !ok {
			scheme = ""
		}
		text = scheme + "://…" + text[at:]
	}
	return fault.New(fault.Usage, "target %q: %s", text, reason)
}
