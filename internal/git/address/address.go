// Package address reads the addresses of git repositories in all their forms: URLs, what scp(1) takes, and paths. See
// "GIT URLS" in git-clone(1).
//
// go-git's transport.NewEndpoint does this too, and drags all of its transports into the binary: 0.7 ms of every start.
package address

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// The schemes. SSH has aliases, and what scp takes; Local is a path too.
const (
	HTTP  = "http"
	HTTPS = "https"
	SSH   = "ssh"
	Git   = "git"
	Local = "file"
)

// Address is where a repository is. It holds no password.
type Address struct {
	Scheme string // one of the constants
	User   string // "" is none
	Host   string // without brackets; "" for Local
	Port   string // "" is the scheme's
	Path   string // as the server gets it; with its first slash, unless an scp address has none
	scp    bool
}

// Parse reads an address. The error is a usage fault that does not repeat what may be a password.
func Parse(text string) (Address, error) {
	switch {
	case text == "":
		return Address{}, fault.New(fault.Usage, "no url is given")
	case strings.ContainsAny(text, "\x00\n\r"):
		return Address{}, fault.New(fault.Usage, "the url has a line feed or a zero byte")
	case strings.Contains(text, "://"):
		return parseURL(text)
	}
	colon := strings.IndexByte(text, ':')
	if slash := strings.IndexByte(text, '/'); colon > 0 && (slash < 0 || colon < slash) {
		return parseSCP(text)
	}
	if !strings.HasPrefix(text, "/") {
		return Address{}, fault.New(fault.Usage, "the url %q is a relative path; write an absolute one, or https://…", text)
	}
	return Address{Scheme: Local, Path: path.Clean(text)}, nil
}

func parseURL(text string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Address{}, fault.New(fault.Usage, "the url cannot be read")
	}
	a := Address{Scheme: strings.ToLower(u.Scheme), Host: u.Hostname(), Port: u.Port(), Path: u.Path}
	if u.User != nil {
		a.User = u.User.Username()
		if _, ok := u.User.Password(); ok {
			return Address{}, fault.Hint(fault.New(fault.Usage, "the url has a password in it"),
				"a command line and a plan are read by many: give --username and --password-file")
		}
	}
	switch a.Scheme {
	case "git+ssh", "ssh+git":
		a.Scheme = SSH
	case HTTP, HTTPS, SSH, Git, Local:
	default:
		return Address{}, fault.New(fault.Usage, "the scheme %q is not known: https, http, ssh, git and file are", u.Scheme)
	}
	switch {
	case a.Scheme == Local && u.Host != "" && u.Host != "localhost":
		return Address{}, fault.New(fault.Usage, "a file url has three slashes: file:///path")
	case a.Scheme != Local && a.Host == "":
		return Address{}, fault.New(fault.Usage, "the url names no host")
	case u.RawQuery != "" || u.Fragment != "":
		return Address{}, fault.New(fault.Usage, "the url has a query or a fragment, which no repository has")
	case a.Path == "" || (a.Scheme != Local && strings.Trim(a.Path, "/") == ""):
		return Address{}, fault.New(fault.Usage, "the url names no repository")
	case strings.ContainsAny(a.Path+a.Host+a.User, "\x00\n\r"):
		return Address{}, fault.New(fault.Usage, "the url has a line feed or a zero byte")
	case !isHost(a.Host):
		return Address{}, fault.New(fault.Usage, "the url's host is neither a name nor an IP address")
	case strings.HasPrefix(a.Host, "-") || strings.HasPrefix(a.User, "-"):
		return Address{}, fault.New(fault.Usage, "a host or user that begins with a dash is refused")
	}
	if a.Scheme == Local {
		return Address{Scheme: Local, Path: path.Clean(a.Path)}, nil
	}
	if a.Scheme == SSH && strings.HasPrefix(a.Path, "/~") {
		a.Path = a.Path[1:] // of a home directory
	}
	return a, nil
}

// parseSCP reads [user@]host:path, where an IPv6 address stands in brackets.
func parseSCP(text string) (Address, error) {
	a := Address{Scheme: SSH, scp: true}
	rest := text
	if user, after, ok := strings.Cut(rest, "@"); ok && !strings.Contains(user, ":") {
		a.User, rest = user, after
	}
	end := strings.IndexByte(rest, ':')
	if strings.HasPrefix(rest, "[") {
		end = strings.Index(rest, "]:") + 1
	}
	if end < 1 {
		return Address{}, fault.New(fault.Usage, "the url cannot be read")
	}
	a.Host, a.Path = strings.Trim(rest[:end], "[]"), rest[end+1:]
	if a.Host == "" || a.Path == "" || !isHost(a.Host) || strings.HasPrefix(a.Host, "-") || strings.HasPrefix(a.User, "-") || strings.Contains(a.Host, "@") {
		return Address{}, fault.New(fault.Usage, "the url cannot be read")
	}
	return a, nil
}

// isHost reports whether a host with a colon is an IPv6 address, whose zone (RFC 6874), if it has one, can be written in a
// URL.
func isHost(host string) bool {
	if !strings.Contains(host, ":") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && strings.IndexFunc(ip.Zone(), func(c rune) bool { return c <= ' ' || c > '~' || c == '%' }) < 0
}

// String returns the address as it may be shown and as git would take it.
func (a Address) String() string {
	switch {
	case a.Scheme == Local:
		return (&url.URL{Scheme: Local, Path: a.Path}).String()
	case a.scp:
		host := a.Host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if a.User != "" {
			host = a.User + "@" + host
		}
		return host + ":" + a.Path
	}
	return a.URL().String()
}

// URL returns the address as a URL, with its user.
func (a Address) URL() *url.URL {
	u := &url.URL{Scheme: a.Scheme, Host: a.Host, Path: a.Path}
	if strings.Contains(a.Host, ":") {
		u.Host = "[" + a.Host + "]"
	}
	if a.Port != "" {
		u.Host += ":" + a.Port
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	if a.User != "" {
		u.User = url.User(a.User)
	}
	return u
}

// Endpoint returns host and port to dial; "" for Local.
func (a Address) Endpoint() string {
	if a.Scheme == Local {
		return ""
	}
	port := a.Port
	if port == "" {
		port = map[string]string{HTTP: "80", HTTPS: "443", SSH: "22", Git: "9418"}[a.Scheme]
	}
	return net.JoinHostPort(a.Host, port)
}

// SameServer reports whether both are on one server, so that what proves who asks may go to either.
func (a Address) SameServer(b Address) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Endpoint(), b.Endpoint())
}

// Resolve returns the address that text stands for in the .gitmodules of the repository at a: one that begins with ./ or
// ../ counts from a itself, as a directory. See git-submodule(1), add.
func (a Address) Resolve(text string) (Address, error) {
	if !strings.HasPrefix(text, "./") && !strings.HasPrefix(text, "../") && text != ".." && text != "." {
		return Parse(text)
	}
	if strings.ContainsAny(text, "\x00\n\r") {
		return Address{}, fault.New(fault.Usage, "the url has a line feed or a zero byte")
	}
	at := strings.TrimRight(a.Path, "/")
	for element := range strings.SplitSeq(text, "/") {
		switch element {
		case "", ".":
		case "..":
			i := strings.LastIndexByte(at, '/')
			if i < 0 && at == "" {
				return Address{}, fault.New(fault.Usage, "the url %q leads above the server's root", text)
			}
			at = at[:max(i, 0)]
		default:
			if at != "" || strings.HasPrefix(a.Path, "/") {
				at += "/"
			}
			at += element
		}
	}
	if strings.Trim(at, "/") == "" {
		return Address{}, fault.New(fault.Usage, "the url %q names no repository", text)
	}
	a.Path = at
	return a, nil
}
