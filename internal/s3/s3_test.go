package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

var ctx = context.Background()

// content answers with an object of those bytes, as S3 does.
func content(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"e"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	}
}

// read returns what Get gives.
func read(c *Client, key string, o GetOptions) (string, *Object, error) {
	object, err := c.Get(ctx, key, o)
	if err != nil {
		return "", nil, err
	}
	defer object.Body.Close()
	text, err := io.ReadAll(object.Body)
	return string(text), object, err
}

func TestKeysAreSentAndSignedAsTheyAre(t *testing.T) {
	f := serve(t, content("x")).plain()
	for _, bare := range []bool{true, false} {
		var c *Client
		prefix := "models/"
		if bare {
			c = f.open(t, Options{Endpoint: "http://objects.test", Style: Virtual})
			prefix = ""
		} else {
			c = f.open(t, Options{Endpoint: f.URL + "/base"})
			prefix = "base/models/"
		}
		for _, key := range []string{
			"a", "a b", "a+b", "a%20b", "a%b", "ü/日本", "a?b=c&d", "a#b", "/a", "//a//b//", "a/./b/../c", "..", "a\tb\n", `a"b\c'`, "a:b@c;d=e,f!g*h(i)", "~._-", "$&+,/:;=?@",
		} {
			if _, _, err := read(c, key, GetOptions{}); err != nil {
				t.Errorf("%q: %v", key, err)
				continue
			}
			if got, _ := f.last(); got.key != prefix+key {
				t.Errorf("got %q, want %q", got.key, prefix+key)
			}
		}
	}
}

func TestWhereABucketIsAsked(t *testing.T) {
	const ap = "arn:aws:s3:eu-west-1:111122223333:accesspoint/reader"
	for _, test := range []struct {
		options Options
		env     []string
		want    string // the URL of the key "k"
	}{
		{Options{Bucket: "models"}, nil, "https://models.s3.us-east-1.amazonaws.com/k"},
		{Options{Bucket: "models", Region: "eu-west-1"}, []string{"AWS_REGION", "us-west-2"}, "https://models.s3.eu-west-1.amazonaws.com/k"},
		{Options{Bucket: "models"}, []string{"AWS_REGION", "cn-north-1"}, "https://models.s3.cn-north-1.amazonaws.com.cn/k"},
		{Options{Bucket: "models"}, []string{"AWS_REGION", "us-gov-west-1", "AWS_USE_FIPS_ENDPOINT", "true"}, "https://models.s3-fips.us-gov-west-1.amazonaws.com/k"},
		{Options{Bucket: "models"}, []string{"AWS_USE_DUALSTACK_ENDPOINT", "true"}, "https://models.s3.dualstack.us-east-1.amazonaws.com/k"},
		{Options{Bucket: "models"}, []string{"AWS_USE_DUALSTACK_ENDPOINT", "true", "AWS_USE_FIPS_ENDPOINT", "true"}, "https://models.s3-fips.dualstack.us-east-1.amazonaws.com/k"},
		{Options{Bucket: "my.models"}, nil, "https://s3.us-east-1.amazonaws.com/my.models/k"},
		{Options{Bucket: "my.models", Style: Virtual}, nil, "https://my.models.s3.us-east-1.amazonaws.com/k"},
		{Options{Bucket: "Old_Models"}, nil, "https://s3.us-east-1.amazonaws.com/Old_Models/k"},
		{Options{Bucket: "models", Style: Path}, nil, "https://s3.us-east-1.amazonaws.com/models/k"},
		{Options{Bucket: "models", Endpoint: "http://minio:9000"}, nil, "http://minio:9000/models/k"},
		{Options{Bucket: "models", Endpoint: "http://minio:9000/s3/", Style: Virtual}, nil, "http://models.minio:9000/s3/k"},
		{Options{Bucket: "models"}, []string{"AWS_ENDPOINT_URL", "http://all", "AWS_ENDPOINT_URL_S3", "https://one"}, "https://one/models/k"},
		{Options{Bucket: "models"}, []string{"AWS_ENDPOINT_URL", "http://all"}, "http://all/models/k"},
		{Options{Bucket: "models", Endpoint: "http://minio:9000"}, []string{"AWS_ENDPOINT_URL", "http://all"}, "http://minio:9000/models/k"},
		{Options{Bucket: ap}, []string{"AWS_REGION", "us-west-2"}, "https://reader-111122223333.s3-accesspoint.eu-west-1.amazonaws.com/k"},
		{Options{Bucket: ap}, []string{"AWS_USE_DUALSTACK_ENDPOINT", "true"}, "https://reader-111122223333.s3-accesspoint.dualstack.eu-west-1.amazonaws.com/k"},
		{Options{Bucket: ap, Endpoint: "https://vpce.test"}, nil, "https://reader-111122223333.vpce.test/k"},
	} {
		c := mustOpen(t, nil, test.options, test.env...)
		at := c.locate(*c.region.Load())
		if got := at.scheme + "://" + at.host + at.path + "k"; got != test.want {
			t.Errorf("%+v %v: got %s, want %s", test.options, test.env, got, test.want)
		}
	}
}

func TestTheAddressHasAPort(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": "models.s3.us-east-1.amazonaws.com:443", "http://minio:9000": "minio:9000", "http://minio": "minio:80", "https://[::1]": "[::1]:443",
	} {
		if got := mustOpen(t, nil, Options{Bucket: "models", Endpoint: endpoint}).Address(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	key := make([]byte, 32)
	for _, test := range []struct {
		options Options
		want    string
		kind    fault.Kind
	}{
		{Options{}, "there is no bucket", fault.Usage},
		{Options{Bucket: "models", Endpoint: "minio:9000"}, "AWS: the endpoint is no http:// or https:// URL", fault.Data},
		{Options{Bucket: "models", Endpoint: "http://me:hunter2@minio"}, "AWS: the endpoint is no http:// or https:// URL", fault.Data},
		{Options{Bucket: "models", Region: "Frankfurt!"}, `AWS: "Frankfurt!" is no region`, fault.Data},
		{Options{Bucket: "models", Endpoint: "http://10.0.0.1:9000", Style: Virtual}, "10.0.0.1:9000 is an address: a bucket cannot stand before it", fault.Usage},
		{Options{Bucket: "Old_Models", Style: Virtual}, "Old_Models cannot stand in a host's name", fault.Usage},
		{Options{Bucket: "arn:aws:s3:eu-west-1:111122223333:accesspoint/reader", Style: Path}, "arn:aws:s3:eu-west-1:111122223333:accesspoint/reader: an access point stands in the host's name, never in the path", fault.Usage},
		{Options{Bucket: "models", CustomerKey: key[:31]}, "the customer's key has 31 bytes, not the 32 of AES-256", fault.Data},
		{Options{Bucket: "models", CustomerKey: key, Endpoint: "http://minio"}, "s3://models: the customer's key goes over TLS alone", fault.Usage},
		{Options{Bucket: "models", Anonymous: true, RequesterPays: true}, "nobody can be billed for a request without a signature: anonymous and requester pays exclude each other", fault.Usage},
		{Options{Bucket: "models", TLS: httpx.TLS{CAFile: "/none"}}, "read /none: no such file or directory", fault.NoInput},
	} {
		if _, err := Open((*fake)(nil).env(), test.options); err == nil || err.Error() != test.want || fault.KindOf(err) != test.kind {
			t.Errorf("%+v: got %v (%v), want %s (%v)", test.options, err, fault.KindOf(err), test.want, test.kind)
		}
	}
}

func TestWhatARequestCarries(t *testing.T) {
	f := serve(t, content("x")).secure()
	c := f.open(t, Options{RequesterPays: true, CustomerKey: bytes.Repeat([]byte{1}, 32)})
	if _, _, err := read(c, "k", GetOptions{IfMatch: `"e"`, VersionID: "v1", Part: 2}); err != nil {
		t.Fatal(err)
	}
	got, _ := f.last()
	for name, want := range map[string]string{
		"X-Amz-Request-Payer": "requester", "If-Match": `"e"`, "Accept-Encoding": "identity", "Range": "", "X-Amz-Checksum-Mode": "",
		"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256",
		"X-Amz-Server-Side-Encryption-Customer-Key":       "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5":   "0lGnqZBBkjD4u2D9ZqHjmA==",
	} {
		if name == "X-Amz-Server-Side-Encryption-Customer-Key-Md5" {
			if len(got.header.Get(name)) != 24 {
				t.Errorf("%s: got %q", name, got.header.Get(name))
			}
			continue
		}
		if got.header.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.query.Get("versionId") != "v1" || got.query.Get("partNumber") != "2" {
		t.Errorf("got the query %v", got.query)
	}
	if strings.Contains(got.header.Get("Authorization"), "accept-encoding") {
		t.Error("what proxies change is signed")
	}
	if got.proto != "HTTP/1.1" {
		t.Errorf("got %s: parts want connections of their own", got.proto)
	}
	for _, err := range c.List(ctx, "", "") {
		if err == nil {
			t.Error("the fake has no list")
		}
	}
	if got, _ := f.last(); got.header.Get("X-Amz-Server-Side-Encryption-Customer-Key") != "" {
		t.Error("the customer's key goes where no object is")
	}
}

func TestTheAnonymousSignNothing(t *testing.T) {
	f := serve(t, content("x")).plain()
	c := f.open(t, Options{Anonymous: true}, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/none")
	if _, _, err := read(c, "k", GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := f.last(); got.header.Get("Authorization") != "" {
		t.Error("it is signed")
	}
}

func TestABucketInAnotherRegionIsFollowed(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "models.s3.us-east-1.amazonaws.com" {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			refuse(w, http.StatusMovedPermanently, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.")
			return
		}
		content("x")(w, r)
	}).secure()
	c := mustOpen(t, f, Options{Bucket: "models", TLS: httpx.TLS{Insecure: true}})
	for n := range 2 {
		if _, _, err := read(c, "k", GetOptions{}); err != nil {
			t.Fatal(err)
		}
		got, asked := f.last()
		if got.host != "models.s3.eu-west-1.amazonaws.com" || !strings.Contains(got.header.Get("Authorization"), "/eu-west-1/s3/") || asked != 2+n {
			t.Errorf("got %s, asked %d times, %s", got.host, asked, got.header.Get("Authorization"))
		}
	}
}

func TestASignatureForAnotherRegionIsMadeAnew(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		f := serve(t, content("x")).plain()
		f.region = "eu-central-1"
		c := f.open(t, Options{})
		var err error
		if method == http.MethodGet {
			_, _, err = read(c, "k", GetOptions{})
		} else {
			_, err = c.Head(ctx, "k", GetOptions{})
		}
		if _, asked := f.last(); err != nil || asked != 2 {
			t.Errorf("%s: got %v, asked %d times", method, err, asked)
		}
	}
}

func TestNoRedirectLeadsToAnotherDomain(t *testing.T) {
	for _, test := range []struct{ region, location string }{
		{"cn-north-1", ""}, {"x.evil.test/", ""}, {"", "https://evil.test/models/k"}, {"us-east-1", "https://evil.test/models/k"},
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", test.region)
			if test.location != "" {
				w.Header().Set("Location", test.location)
			}
			w.WriteHeader(http.StatusTemporaryRedirect)
		}).secure()
		c := mustOpen(t, f, Options{Bucket: "models", TLS: httpx.TLS{Insecure: true}})
		_, _, err := read(c, "k", GetOptions{})
		if _, asked := f.last(); asked != 1 || fault.KindOf(err) != fault.Conflict || fault.HintOf(err) == "" {
			t.Errorf("%+v: asked %d times, got %v (%v)", test, asked, err, fault.KindOf(err))
		}
	}
}

func TestAWrongClockIsCorrected(t *testing.T) {
	for _, head := range []bool{false, true} {
		f := serve(t, content("x")).plain()
		f.now = func() time.Time { return time.Now().Add(40 * time.Minute) }
		c := f.open(t, Options{})
		for range 2 {
			var err error
			if head {
				_, err = c.Head(ctx, "k", GetOptions{})
			} else {
				_, _, err = read(c, "k", GetOptions{})
			}
			if err != nil {
				t.Errorf("head %v: %v", head, err)
			}
		}
		if _, asked := f.last(); asked != 3 {
			t.Errorf("head %v: asked %d times, want 3", head, asked)
		}
	}
}

func TestExpiredCredentialsAreRenewedOnce(t *testing.T) {
	for _, head := range []bool{false, true} {
		lent, renewed := 0, make(map[string]bool)
		lender := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			lent++
			key := "AKIAIOSFODNN7EXAMPLE"
			if lent == 2 {
				key = "AKIDNEW"
			}
			renewed[key] = lent == 2
			fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"Token":"t"}`, key, secrets[key])
		}))
		defer lender.Close()
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if _, access, _ := signatureOf(r); !renewed[access] {
				refuse(w, http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
				return
			}
			content("x")(w, r)
		}).plain()
		c := f.open(t, Options{}, "AWS_CONTAINER_CREDENTIALS_FULL_URI", lender.URL)
		ask := func() error {
			if head {
				_, err := c.Head(ctx, "k", GetOptions{})
				return err
			}
			_, _, err := read(c, "k", GetOptions{})
			return err
		}
		if err := ask(); err != nil || lent != 2 {
			t.Errorf("head %v: got %v, lent %d times, want 2", head, err, lent)
		}
		delete(renewed, "AKIDNEW")
		err := ask() // these are expired now, and so are the third
		if lent != 3 || fault.KindOf(err) != fault.Permission || fault.HintOf(err) == "" {
			t.Errorf("head %v: got %v (%v), lent %d times, want 3", head, err, fault.KindOf(err), lent)
		}
	}
}

func TestRangesAndConditions(t *testing.T) {
	f := serve(t, content("0123456789")).plain()
	c := f.open(t, Options{})
	for _, test := range []struct {
		options              GetOptions
		want                 string
		offset, length, size int64
		fault                error
	}{
		{GetOptions{}, "0123456789", 0, 10, 10, nil},
		{GetOptions{Offset: 2, Length: 3}, "234", 2, 3, 10, nil},
		{GetOptions{Length: 3}, "012", 0, 3, 10, nil},
		{GetOptions{Offset: 8}, "89", 8, 2, 10, nil},
		{GetOptions{Offset: 8, Length: 100, IfMatch: `"e"`}, "89", 8, 2, 10, nil},
		{GetOptions{Offset: 10}, "", 0, 0, 0, ErrRange},
		{GetOptions{IfMatch: `"other"`}, "", 0, 0, 0, ErrChanged},
		{GetOptions{IfNoneMatch: `"e"`}, "", 0, 0, 0, ErrNotModified},
	} {
		text, object, err := read(c, "k", test.options)
		if test.fault != nil {
			if refused, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, test.fault) || (test.fault == ErrRange && refused.Size != 10) {
				t.Errorf("%+v: got %v, want %v", test.options, err, test.fault)
			}
			continue
		}
		if err != nil || text != test.want || object.Offset != test.offset || object.Length != test.length || object.Size != test.size {
			t.Errorf("%+v: got %q, %+v, %v", test.options, text, object, err)
		}
	}
}

func TestAServerThatKnowsNoRanges(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "0123456789") }).plain()
	text, object, err := read(f.open(t, Options{}), "k", GetOptions{Offset: 2, Length: 3})
	if err != nil || text != "0123456789" || object.Offset != 0 || object.Size != 10 {
		t.Errorf("got %q, %+v, %v", text, object, err)
	}
}

func TestServersThatLie(t *testing.T) {
	for _, test := range []struct {
		options       GetOptions
		contentRange  string
		body, message string
	}{
		{GetOptions{Offset: 2, Length: 3}, "bytes 3-5/10", "345", "bytes 3 to 5, which nobody asked for"},
		{GetOptions{Offset: 2, Length: 3}, "bytes 2-8/10", "2345678", "bytes 2 to 8, which nobody asked for"},
		{GetOptions{Offset: 2, Length: 3}, "bytes 2-4/10", "2345", "4 bytes and calls them bytes 2 to 4"},
		{GetOptions{Offset: 2, Length: 3}, "", "234", "not with which"},
		{GetOptions{Offset: 2, Length: 3}, "bytes 4-2/10", "234", "not with which"},
		{GetOptions{Offset: 2, Length: 3}, "bytes 2-4/4", "234", "not with which"},
		{GetOptions{Offset: 2, Length: 3}, "bytes -2-+4/4", "234", "not with which"},
		{GetOptions{}, "bytes 0-2/10", "012", "bytes 0 to 2 instead of the whole object"},
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", test.contentRange)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, test.body)
		}).plain()
		_, _, err := read(f.open(t, Options{}), "k", test.options)
		if err == nil || !strings.Contains(err.Error(), test.message) || fault.KindOf(err) != fault.Data {
			t.Errorf("%s: got %v (%v), want %s", test.contentRange, err, fault.KindOf(err), test.message)
		}
	}
}

func TestBodiesThatBreak(t *testing.T) {
	for name, answer := range map[string]string{
		"early":   "Content-Length: 10\r\n\r\n01234",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nzz\r\n",
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, out, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = out.WriteString("HTTP/1.1 200 OK\r\n" + answer)
			_ = out.Flush()
		}).plain()
		text, _, err := read(f.open(t, Options{}), "k", GetOptions{})
		if text != "01234" || fault.KindOf(err) != fault.IO || !strings.HasPrefix(err.Error(), "read s3://models/k: ") {
			t.Errorf("%s: got %q, %v (%v)", name, text, err, fault.KindOf(err))
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	f := serve(t, nil).plain()
	f.Close()
	_, _, err := read(f.open(t, Options{}), "k", GetOptions{})
	if fault.KindOf(err) != fault.Unavailable || !strings.HasPrefix(err.Error(), "get s3://models/k: dial tcp 127.0.0.1:") {
		t.Errorf("got %v (%v)", err, fault.KindOf(err))
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.open(t, Options{}).Get(ended, "k", GetOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNoCredentialsHintAtPublicBuckets(t *testing.T) {
	f := serve(t, content("x")).plain()
	_, _, err := read(f.open(t, Options{}, "AWS_ACCESS_KEY_ID", ""), "k", GetOptions{})
	if fault.KindOf(err) != fault.Permission || !strings.Contains(fault.HintOf(err), "--no-sign-request") || !strings.Contains(fault.HintOf(err), "IRSA") {
		t.Errorf("got %v (%v): %s", err, fault.KindOf(err), fault.HintOf(err))
	}
}

func BenchmarkGet(b *testing.B) {
	server := httptest.NewServer(content("x"))
	defer server.Close()
	c, err := Open((*fake)(nil).env(), Options{Bucket: "models", Endpoint: server.URL})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := read(c, "k", GetOptions{Length: 1}); err != nil {
			b.Fatal(err)
		}
	}
}
