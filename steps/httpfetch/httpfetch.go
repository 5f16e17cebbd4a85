// Package httpfetch is the step that fetches a file from a web server.
package httpfetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/fetch"
	"github.com/slipway-init/slipway/internal/httpobject"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Kind is http-fetch.
var Kind = step.Kind{
	Name:  "http-fetch",
	Short: "fetch a file or an archive over HTTP, verified",
	Long: `Fetches URL, which is http:// or https://, into the file DEST, or with --extract into the folder DEST.

    slipway http-fetch https://repo/model.bin /models/model.bin --sha256 9f2c…
    slipway http-fetch https://repo/site.tar.zst /srv/www --extract --sha256-file https://repo/SHA256SUMS
    slipway http-fetch https://repo/private.bin /data/ --header-from 'Authorization=Bearer file:/var/run/secrets/token'

In a plan:

    - http-fetch:
        url: https://repo/site.tar.gz
        dest: /srv/www
        extract: true
        strip-components: 1
        sha256: 9f2c…

A DEST that ends in "/" is a folder, and the file keeps the name that it has in the URL. The folder that a file is written to must be
there.

` + fetch.Help + `
## Access

Redirects to another host are refused, because a digest that somebody else answers for is often all there is;
--allow-redirect-host names those that may answer instead, such as objects.githubusercontent.com. Headers and passwords
go to the URL's own host alone. --username and --password-file log in (basic authentication); --header-from takes other
secrets from files and variables. --ca-file, --cert-file and --key-file are for servers with certificates of their own.
Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

## Runs

` + fetch.Runs,
	Args:   []string{"url", "dest"},
	Policy: fetch.Policy,
	New:    func() step.Step { return &httpFetch{Options: fetch.New()} },
}

type httpFetch struct {
	fetch.Options
	url          string
	headers      []string
	headersFrom  []string
	username     string
	passwordFile string
	redirects    []string
	tls          httpx.TLS

	parsed, manifest *url.URL
	header           httpx.Header
}

func (s *httpFetch) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.url, "url", "", "what to fetch: http:// or https://")
	s.Options.Flags(fs)
	fs.StringArrayVar(&s.headers, "header", nil, "HTTP header to send, 'Name: value'; repeats")
	fs.StringArrayVar(&s.headersFrom, "header-from", nil,
		"HTTP header from a secret, 'Name=env:VARIABLE', 'Name=file:PATH' or 'Name=Bearer file:PATH'; repeats")
	fs.StringVar(&s.username, "username", "", "user to log in as")
	fs.StringVar(&s.passwordFile, "password-file", "", "file of the password")
	fs.StringSliceVar(&s.redirects, "allow-redirect-host", nil, "host that redirects may lead to, beside the URL's own; repeats")
	fs.StringVar(&s.tls.CAFile, "ca-file", "", "PEM file of the CAs to trust instead of the system's")
	fs.StringVar(&s.tls.CertFile, "cert-file", "", "PEM file of the client certificate")
	fs.StringVar(&s.tls.KeyFile, "key-file", "", "PEM file of the client certificate's key")
	fs.StringVar(&s.tls.ServerName, "server-name", "", "name to ask for and to find in the certificate (default: the URL's host)")
	fs.BoolVar(&s.tls.Insecure, "insecure-skip-tls-verify", false, "accept any certificate")
}

func (s *httpFetch) Effects() ([]step.Effect, error) {
	var faults []error
	add := func(err error) { faults = append(faults, err) }
	var err error
	s.parsed, err = parse("url", s.url)
	add(err)
	if manifest := s.Manifest(); manifest != "" {
		s.manifest, err = parse("sha256-file", manifest)
		add(err)
	}
	s.header, err = httpx.ParseHeader(s.headers, s.headersFrom)
	add(err)
	if (s.username == "") != (s.passwordFile == "") {
		add(fault.New(fault.Usage, "--username and --password-file go together"))
	}
	if s.username != "" && s.header.Has("Authorization") {
		add(fault.New(fault.Usage, "--username and a header Authorization both log in"))
	}
	if (s.tls.CertFile == "") != (s.tls.KeyFile == "") {
		add(fault.New(fault.Usage, "--cert-file and --key-file go together"))
	}
	effects, err := s.Options.Effects(false)
	add(err)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if strings.HasSuffix(s.Dest, "/") && name(s.parsed) == "" {
		return nil, fault.New(fault.Usage, "--dest %s is a folder, and the URL has no name for the file in it", s.Dest)
	}
	for _, file := range []string{s.passwordFile, s.tls.CAFile, s.tls.CertFile, s.tls.KeyFile} {
		if file != "" {
			effects = append(effects, step.Effect{Verb: step.Read, Object: file})
		}
	}
	effects = append(effects, s.header.Effects()...)
	return append(effects, s.dials()...), nil
}

// dials returns the hosts that are asked.
func (s *httpFetch) dials() []step.Effect {
	var effects []step.Effect
	seen := make(map[string]bool)
	add := func(address string) {
		if !seen[address] {
			seen[address] = true
			effects = append(effects, step.Effect{Verb: step.Dial, Object: "tcp://" + address})
		}
	}
	add(httpx.Address(s.parsed))
	if s.manifest != nil {
		add(httpx.Address(s.manifest))
	}
	for _, host := range s.redirects {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(host, "443")
		}
		add(host)
	}
	return effects
}

// parse parses a URL that stands in an option. One with a user and a password is refused: it would be in every log.
func parse(option, text string) (*url.URL, error) {
	if text == "" {
		return nil, fault.New(fault.Usage, "no %s is given", option)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fault.New(fault.Usage, "--%s is no URL", option) // err holds the text
	case u.User != nil:
		return nil, fault.Hint(fault.New(fault.Usage, "--%s %s: a URL is no place for a password", option, httpx.Redact(u)), "give --username and --password-file")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fault.New(fault.Usage, "--%s %s is neither http:// nor https://", option, httpx.Redact(u))
	case u.Hostname() == "":
		return nil, fault.New(fault.Usage, "--%s %s has no host", option, httpx.Redact(u))
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// name returns the name of the file in a URL, "" if there is none.
func name(u *url.URL) string {
	name := path.Base(u.Path)
	if name == "." || name == ".." || name == "/" || strings.ContainsRune(name, 0) {
		return ""
	}
	return name
}

func (s *httpFetch) Run(ctx context.Context, env *step.Env) error {
	object, err := s.object(env, s.parsed)
	if err != nil {
		return err
	}
	defer object.Client.CloseIdleConnections()
	f := fetch.Fetching{Options: &s.Options, Env: env}
	if s.manifest != nil {
		manifest := &httpobject.Object{Client: object.Client, URL: s.manifest}
		if s.manifest.Scheme == s.parsed.Scheme && httpx.Address(s.manifest) == httpx.Address(s.parsed) {
			manifest.Header = object.Header // it is for this server alone
		}
		f.ManifestObject = manifest
	}
	return f.One(ctx, object, name(s.parsed))
}

// object returns what stands at u, with all that it takes to get it.
func (s *httpFetch) object(env *step.Env, u *url.URL) (*httpobject.Object, error) {
	header, err := s.header.Read(env)
	if err != nil {
		return nil, err
	}
	if s.username != "" {
		var password opt.Ref
		if err := password.Set("file:" + s.passwordFile); err != nil {
			return nil, fault.As(fault.Usage, err)
		}
		secret, err := password.Secret(env)
		if err != nil {
			return nil, err
		}
		basic := http.Request{Header: header}
		basic.SetBasicAuth(s.username, secret)
	}
	config, err := s.tls.Config(env)
	if err != nil {
		return nil, err
	}
	client := httpx.Derive(env.HTTP, func(t *http.Transport) {
		t.TLSClientConfig = config
		httpobject.Tune(t, s.Connections())
	})
	client.CheckRedirect = httpx.AllowHosts(s.redirects)
	return &httpobject.Object{Client: client, URL: u, Header: header}, nil
}
