package s3

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// question is one request, before it is known where it goes and who signs it.
type question struct {
	operation string // for errors: "get"
	method    string
	object    bool   // about an object: it needs the customer's key
	key       string // "" is the bucket
	about     string // what errors name instead of the key
	query     url.Values
	header    http.Header
}

// name returns what errors name.
func (q question) name() string { return cmp.Or(q.about, q.key) }

// ask sends q and returns an answer that is a success, whose body the caller closes. Each of three refusals is dealt with
// once, because asking again at once does help: another region, a wrong clock, credentials that have expired.
func (c *Client) ask(ctx context.Context, q question) (*http.Response, error) {
	var followed, set, renewed bool
	for {
		region := *c.region.Load()
		response, err := c.send(ctx, q, region)
		if err != nil {
			return nil, err
		}
		if response.StatusCode == http.StatusOK || response.StatusCode == http.StatusPartialContent {
			return response, nil
		}
		refused := c.refusal(q, response)
		switch {
		case !followed && refused.elsewhere() && c.follow(region, refused.region):
			followed = true
		case !set && !c.anonymous && refused.untimely() && c.identity.SetClock(response.Header.Get("Date")):
			set = true
		case !renewed && !c.anonymous && refused.expired():
			c.identity.Forget(response.Request)
			renewed = true
		default:
			return nil, refused.explained(c)
		}
	}
}

// send sends q once.
func (c *Client) send(ctx context.Context, q question, region string) (*http.Response, error) {
	at := c.locate(region)
	request := (&http.Request{
		Method: q.method,
		URL: &url.URL{
			Scheme: at.scheme, Host: at.host, Path: at.path + q.key, RawPath: at.rawPath + escape(q.key), RawQuery: q.query.Encode(),
		},
		Host: at.host, Header: c.header.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	maps.Copy(request.Header, q.header)
	if q.object {
		maps.Copy(request.Header, c.keyHeader)
	}
	if !c.anonymous {
		if err := c.identity.SignObject(ctx, request, region); err != nil {
			return nil, fault.Hint(fmt.Errorf("%s %s: %w", q.operation, c.name(q.name()), err),
				"%s; a bucket that is everybody's is read with --no-sign-request", fault.HintOf(err))
		}
	}
	// These two are no part of the signature, because proxies change them, and S3's twin at Google does.
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "slipway")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unanswered(q, at, httpx.Unanswered(request, err))
	}
	return response, nil
}

// unanswered explains that there was no answer.
func (c *Client) unanswered(q question, at endpoint, err error) error {
	explained := fmt.Errorf("%s %s: %w", q.operation, c.name(q.name()), err)
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound && c.given != nil && at.host != c.given.host {
		return fault.Hint(explained, "%s does not know names of buckets: use the path style", c.given.host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fault.Hint(explained, "name the certificate of the server's authority by --ca-file or AWS_CA_BUNDLE")
	}
	return explained
}
