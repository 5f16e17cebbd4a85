// Package s3 reads objects of S3, and of what speaks like it: whole ones, ranges and parts of them (get.go), what a bucket
// has below a prefix (list.go), and the checksums that prove what was read (checksum.go).
//
// Each call is one request over plain HTTP, signed by the pod's AWS identity (internal/aws). It is sent once more, at once,
// where S3's answer says what was wrong with it: the bucket is in another region, the clock is off, the credentials have
// expired. All other failures are the caller's, with a kind that says whether to try again. docs/s3.md has the decisions.
package s3

import (
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// Options say which bucket it is and how it is reached. But for Bucket the zero value is that of AWS's own tools.
type Options struct {
	Bucket   string    // its name, an access point's alias, or an access point's ARN
	Region   string    // else that of AWS_REGION, AWS_DEFAULT_REGION, the profile, else us-east-1; a wrong one is found out
	Endpoint string    // a URL; else that of AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile, else AWS's own
	Profile  string    // else that of AWS_PROFILE or AWS_DEFAULT_PROFILE
	Style    Style     // how the bucket stands in a URL
	TLS      httpx.TLS // without a CAFile that of AWS_CA_BUNDLE, else the profile's

	Anonymous     bool // sign nothing: the bucket is everybody's
	RequesterPays bool // the caller's account pays for the bucket's

	// CustomerKey is the key of objects that their owner has S3 encrypt with a key that S3 does not keep (SSE-C): 32 bytes.
	// Each request carries it, so that it goes over TLS alone, unless KeyWithoutTLS.
	CustomerKey   []byte
	KeyWithoutTLS bool

	Connections int // how many idle ones are kept; 0 is 16
}

// Client reads one bucket. It is safe for concurrent use.
type Client struct {
	bucket    bucket
	identity  *aws.Identity
	http      *http.Client
	given     *endpoint // nil is AWS's own
	style     Style
	anonymous bool
	header    http.Header            // what every request has
	keyHeader http.Header            // what those have that are about an object
	region    atomic.Pointer[string] // where the bucket is, as far as is known
}

// patience is how long an answer may take to begin once a request is sent.
const patience = 30 * time.Second

// Open returns a client for a bucket. It reads the files that options and variables name and asks nobody. What is wrong with
// the options is Usage or Data.
func Open(env *step.Env, o Options) (*Client, error) {
	named, err := parseBucket(o.Bucket)
	if err != nil {
		return nil, err
	}
	if o.Anonymous && o.RequesterPays {
		return nil, fault.New(fault.Usage, "nobody can be billed for a request without a signature: anonymous and requester pays exclude each other")
	}
	region := o.Region
	if named.arn {
		region = named.region
	}
	identity, err := aws.Open(env, aws.Options{Region: region, Global: true, Machine: true, Profile: o.Profile, TLS: o.TLS})
	if err != nil {
		return nil, err
	}
	c := &Client{bucket: named, identity: identity, anonymous: o.Anonymous, header: http.Header{}, keyHeader: http.Header{}}
	region = identity.Region()
	c.region.Store(&region)
	if c.given, err = givenEndpoint(identity, o.Endpoint); err != nil {
		return nil, err
	}
	if c.style, err = c.bucket.style(o.Style, identity, c.given); err != nil {
		return nil, err
	}
	if o.RequesterPays {
		c.header.Set("X-Amz-Request-Payer", "requester")
	}
	if err := c.useKey(o); err != nil {
		return nil, err
	}
	c.http = httpx.Derive(identity.HTTP, func(t *http.Transport) {
		// Parts in parallel are faster over connections of their own: S3 limits the rate of each. It speaks HTTP/1.1 alone,
		// and other servers must not be asked for HTTP/2 as the transport was that this one is a copy of.
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
		t.ForceAttemptHTTP2, t.TLSNextProto = false, nil
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.NextProtos = []string{"http/1.1"}
		t.DisableCompression = true
		t.MaxIdleConnsPerHost = max(o.Connections, 16)
		t.ResponseHeaderTimeout = patience
	})
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// useKey sets what proves to S3 that the caller has the key of an object.
func (c *Client) useKey(o Options) error {
	if o.CustomerKey == nil {
		return nil
	}
	if len(o.CustomerKey) != 32 {
		return fault.New(fault.Data, "the customer's key has %d bytes, not the 32 of AES-256", len(o.CustomerKey))
	}
	if c.locate(c.identity.Region()).scheme != "https" && !o.KeyWithoutTLS {
		return fault.Hint(fault.New(fault.Usage, "%s: the customer's key goes over TLS alone", c), "name an https:// endpoint")
	}
	sum := md5.Sum(o.CustomerKey)
	c.keyHeader.Set("X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256")
	c.keyHeader.Set("X-Amz-Server-Side-Encryption-Customer-Key", base64.StdEncoding.EncodeToString(o.CustomerKey))
	c.keyHeader.Set("X-Amz-Server-Side-Encryption-Customer-Key-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	return nil
}

// String returns "s3://bucket".
func (c *Client) String() string { return "s3://" + c.bucket.text }

// Address returns the host and port that the bucket is asked at: "models.s3.eu-west-1.amazonaws.com:443".
func (c *Client) Address() string {
	at := c.locate(*c.region.Load())
	if strings.LastIndexByte(at.host, ':') > strings.LastIndexByte(at.host, ']') {
		return at.host
	}
	return at.host + map[string]string{"http": ":80", "https": ":443"}[at.scheme]
}

// Endpoint returns the endpoint that was given, without a user or password: "" for AWS's own, where the name of a bucket is
// one in the world.
func (c *Client) Endpoint() string {
	if c.given == nil {
		return ""
	}
	return c.given.scheme + "://" + c.given.host + c.given.path
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// name returns a key of the bucket as errors name it.
func (c *Client) name(key string) string { return fmt.Sprintf("%s/%s", c, printable(key)) }
