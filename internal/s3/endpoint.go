package s3

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
)

// Style is how a bucket stands in the URL of a request.
type Style int

const (
	// Auto is what the profile's s3.addressing_style says; else Virtual at AWS for names that allow it, and Path elsewhere.
	Auto Style = iota
	// Path is a bucket in the path: https://host/bucket/key. Servers of one's own mostly know this one alone.
	Path
	// Virtual is a bucket in the host's name: https://bucket.host/key.
	Virtual
)

// endpoint is where a bucket is asked.
type endpoint struct {
	scheme, host string
	path         string // unescaped, before the key, with a slash at its end
	rawPath      string // the same, escaped
}

// givenEndpoint returns the endpoint of the options or the environment, nil for AWS's own.
func givenEndpoint(identity *aws.Identity, option string) (*endpoint, error) {
	var (
		text string
		err  error
	)
	if option != "" {
		text, err = aws.ParseEndpoint("the endpoint", option)
	} else {
		text, err = identity.Given(aws.S3)
	}
	if text == "" || err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fault.As(fault.Internal, err) // it was parsed before
	}
	return &endpoint{scheme: u.Scheme, host: u.Host, path: u.Path, rawPath: u.EscapedPath()}, nil
}

// style returns Path or Virtual for a bucket at a given endpoint, which is nil for AWS's own.
func (b bucket) style(wanted Style, identity *aws.Identity, given *endpoint) (Style, error) {
	if wanted == Auto {
		switch identity.Setting("s3.addressing_style") {
		case "path":
			wanted = Path
		case "virtual":
			wanted = Virtual
		}
	}
	switch {
	case b.arn && wanted == Path:
		return 0, fault.New(fault.Usage, "%s: an access point stands in the host's name, never in the path", b.text)
	case b.arn:
		return Virtual, nil
	case wanted == Virtual && given != nil && isAddress(given.host):
		return 0, fault.New(fault.Usage, "%s is an address: a bucket cannot stand before it", given.host)
	case wanted == Virtual && !b.isHost():
		return 0, fault.New(fault.Usage, "%s cannot stand in a host's name", b.text)
	case wanted != Auto:
		return wanted, nil
	case given != nil, !isLabel(b.text): // a dot in the name, too: the wildcard of AWS's certificate stands for one label
		return Path, nil
	}
	return Virtual, nil
}

// isHost reports whether the bucket's name may stand in the name of a host.
func (b bucket) isHost() bool {
	for label := range strings.SplitSeq(b.text, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isAddress reports whether host, which may have a port, is an IP address.
func isAddress(host string) bool {
	if _, err := netip.ParseAddrPort(host); err == nil {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// locate returns where the bucket is asked if it is in region. The region has no say in an endpoint that was given.
func (c *Client) locate(region string) endpoint {
	var at endpoint
	switch {
	case c.given != nil:
		at = *c.given
	case c.bucket.arn:
		at = endpoint{"https", c.host("s3-accesspoint", region), "/", "/"}
	default:
		at = endpoint{"https", c.host("s3", region), "/", "/"}
	}
	switch {
	case c.bucket.arn:
		at.host = c.bucket.name + "-" + c.bucket.account + "." + at.host
	case c.style == Virtual:
		at.host = c.bucket.text + "." + at.host
	default:
		at.path += c.bucket.text + "/"
		at.rawPath += c.bucket.text + "/"
	}
	return at
}

// host returns the host of S3, or of its access points, in a region:
// https://docs.aws.amazon.com/general/latest/gr/s3.html.
func (c *Client) host(name, region string) string {
	if c.identity.FIPS() {
		name += "-fips"
	}
	if c.identity.DualStack() {
		name += ".dualstack"
	}
	return name + "." + region + "." + aws.Domain(region)
}

// follow makes region the bucket's, and reports whether that changes anything. What is signed stays within the domain that
// it was meant for.
func (c *Client) follow(from, region string) bool {
	if region == from || !aws.IsRegion(region) || aws.Domain(region) != aws.Domain(from) || c.bucket.arn {
		return false
	}
	c.region.Store(&region)
	return true
}

// escape escapes a key as S3 wants it signed: all but unreserved characters and the slash, which also is one where it is
// doubled, or around a dot.
func escape(key string) string {
	const hexadecimal = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(key) + 16)
	for i := range len(key) {
		switch c := key[i]; {
		case letter(rune(c)), digit(rune(c)), c == '-', c == '.', c == '_', c == '~', c == '/':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexadecimal[c>>4])
			b.WriteByte(hexadecimal[c&15])
		}
	}
	return b.String()
}
