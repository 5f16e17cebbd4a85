// Package httpx derives HTTP clients from the runner's traced one, with the options that steps share: a CA bundle, a
// client certificate, a server name.
package httpx

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/slipway-init/slipway/internal/fault"
)

// Deriver is a RoundTripper that wraps an *http.Transport and can be had again around a changed copy of it. The
// runner's traced transport is one.
type Deriver interface {
	// Derive returns the same wrapping around a clone of the transport to which change was applied.
	Derive(change func(*http.Transport)) http.RoundTripper
}

// Derive returns a copy of client whose transport is a clone of the client's own with change applied. It keeps the
// wrapping of a Deriver; a client without a transport gets a clone of the default one.
func Derive(client *http.Client, change func(*http.Transport)) *http.Client {
	derived := *client
	switch transport := client.Transport.(type) {
	case Deriver:
		derived.Transport = transport.Derive(change)
	case *http.Transport:
		clone := transport.Clone()
		change(clone)
		derived.Transport = clone
	case nil:
		clone := http.DefaultTransport.(*http.Transport).Clone()
		change(clone)
		derived.Transport = clone
	default:
		panic(fmt.Sprintf("httpx: cannot derive from a %T", transport))
	}
	return &derived
}

// SameHost is a CheckRedirect that refuses a redirect to another host or port, or from https to http, and more than ten
// in a row: the server that was named is the one that answers, and what was meant for it goes nowhere else.
func SameHost(request *http.Request, via []*http.Request) error {
	return follow(request, via, nil, "name that host in the URL if it is the one you want")
}

// AllowHosts is SameHost for a client that may be led to some other hosts, too, each named with or without its port. They
// get nothing of the request's header but what says which bytes are wanted.
func AllowHosts(hosts []string) func(request *http.Request, via []*http.Request) error {
	return func(request *http.Request, via []*http.Request) error {
		return follow(request, via, hosts, "allow it with --allow-redirect-host "+request.URL.Hostname()+" if it is one that you trust")
	}
}

// follow returns nil if a redirect may be followed.
func follow(request *http.Request, via []*http.Request, hosts []string, hint string) error {
	first := via[0].URL
	same := request.URL.Host == first.Host
	switch {
	case len(via) >= 10:
		return fault.New(fault.Data, "%s: more than 10 redirects", Redact(first))
	case !same && !slices.Contains(hosts, request.URL.Host) && !slices.Contains(hosts, request.URL.Hostname()):
		return fault.Hint(fault.New(fault.Permission, "%s: redirect to another host, %s, refused", Redact(first), request.URL.Host), "%s", hint)
	case first.Scheme == "https" && request.URL.Scheme != "https":
		return fault.New(fault.Permission, "%s: redirect from https to %s refused", Redact(first), request.URL.Scheme)
	}
	if !same {
		kept := make(http.Header)
		for _, name := range []string{"Accept-Encoding", "Range", "If-Range"} {
			if values := request.Header.Values(name); values != nil {
				kept[name] = values
			}
		}
		request.Header = kept
	}
	return nil
}

// Address returns the host and port that an http:// or https:// URL leads to.
func Address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// Redact returns u as it may be printed: without its password, and without its query, which may hold a signature or a
// token.
func Redact(u *url.URL) string {
	shown := *u
	if shown.RawQuery != "" {
		shown.RawQuery = "…"
	}
	return shown.Redacted()
}
