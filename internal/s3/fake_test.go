package s3

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// secrets are those of the access keys that the fake knows.
var secrets = map[string]string{
	"AKIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	"AKIDNEW":              "new",
}

// fake is a server of S3: it holds every signature against the request, as S3's documentation describes it, and answers with
// what the test has for it.
type fake struct {
	*httptest.Server
	answer http.HandlerFunc

	mu     sync.Mutex
	region string           // "" takes a signature for any
	now    func() time.Time // the server's
	asked  []asked
}

// asked is what the fake was asked.
type asked struct {
	method, host, key string // the key as it was sent, unescaped, with the bucket of the path style
	query             url.Values
	header            http.Header
	proto             string
}

// serve starts a fake.
func serve(t *testing.T, answer http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{answer: answer, now: time.Now}
	f.Server = httptest.NewUnstartedServer(f)
	f.EnableHTTP2 = true
	t.Cleanup(f.Close)
	return f
}

// plain starts it without TLS.
func (f *fake) plain() *fake { f.Start(); return f }

// secure starts it with TLS, by a certificate that a client must be told to take.
func (f *fake) secure() *fake { f.StartTLS(); return f }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	key, err := url.PathUnescape(path)
	if err != nil || uriEncode(key) != path {
		http.Error(w, "the path is not escaped as it is signed: "+path, http.StatusTeapot)
		return
	}
	f.mu.Lock()
	f.asked = append(f.asked, asked{r.Method, r.Host, strings.TrimPrefix(key, "/"), r.URL.Query(), r.Header, r.Proto})
	region, now := f.region, f.now()
	f.mu.Unlock()
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if r.Header.Get("Authorization") != "" {
		signature, access, signed := signatureOf(r)
		switch sent, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date")); {
		case err != nil || now.Sub(sent).Abs() > 15*time.Minute:
			refuse(w, http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
			return
		case region != "" && signed != region:
			w.Header().Set("X-Amz-Bucket-Region", region)
			refuse(w, http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region is wrong.")
			return
		case secrets[access] == "":
			refuse(w, http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
			return
		case !strings.HasSuffix(r.Header.Get("Authorization"), "Signature="+signature):
			refuse(w, http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
			return
		}
	}
	f.answer(w, r)
}

// refuse answers with an error as S3 has it.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Amz-Request-Id", "4442587FB7D0A2F9")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><Resource>/x</Resource></Error>", code, message)
}

// last returns what the fake was asked last, and how often it was asked.
func (f *fake) last() (asked, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1], len(f.asked)
}

// env returns an environment of pairs, with an access key unless there are some. All that is dialled, whatever its name, is
// the fake.
func (f *fake) env(pairs ...string) *step.Env {
	values := map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}
	if !slices.ContainsFunc(pairs, func(name string) bool { return strings.HasPrefix(name, "AWS_CONTAINER") }) {
		values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"] = "AKIAIOSFODNN7EXAMPLE", secrets["AKIAIOSFODNN7EXAMPLE"]
	}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if f != nil && !strings.HasPrefix(addr, "127.0.0.1:") {
			addr = f.Listener.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return &step.Env{
		Getenv: func(name string) string { return values[name] }, Dial: dial,
		HTTP: &http.Client{Transport: &http.Transport{DialContext: dial, ForceAttemptHTTP2: true}},
	}
}

// open returns a client of the bucket "models" at the fake.
func (f *fake) open(t *testing.T, o Options, pairs ...string) *Client {
	t.Helper()
	o.Bucket, o.TLS = "models", httpx.TLS{Insecure: true}
	if o.Endpoint == "" {
		o.Endpoint = f.URL
	}
	return mustOpen(t, f, o, pairs...)
}

func mustOpen(t *testing.T, f *fake, o Options, pairs ...string) *Client {
	t.Helper()
	c, err := Open(f.env(pairs...), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// signatureOf returns the signature that a request should have, with the access key and the region that it names:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
func signatureOf(r *http.Request) (signature, access, region string) {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	credential, rest, _ := strings.Cut(rest, ",")
	_, rest, _ = strings.Cut(rest, "SignedHeaders=")
	names, _, _ := strings.Cut(rest, ",")
	access, scope, _ := strings.Cut(credential, "/")
	words := strings.Split(scope, "/")

	path, rawQuery, _ := strings.Cut(r.RequestURI, "?")
	key, _ := url.PathUnescape(path)
	values, _ := url.ParseQuery(rawQuery)
	var query []string
	for name, all := range values {
		for _, value := range all {
			query = append(query, strings.ReplaceAll(uriEncode(name), "/", "%2F")+"="+strings.ReplaceAll(uriEncode(value), "/", "%2F"))
		}
	}
	slices.Sort(query)
	var headers strings.Builder
	for name := range strings.SplitSeq(names, ";") {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + value + "\n")
	}
	canonical := strings.Join([]string{
		r.Method, uriEncode(key), strings.Join(query, "&"), headers.String(), names, r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	derived := []byte("AWS4" + secrets[access])
	for _, word := range append(words, text) {
		mac := hmac.New(sha256.New, derived)
		mac.Write([]byte(word))
		derived = mac.Sum(nil)
	}
	return hex.EncodeToString(derived), access, words[1]
}

// uriEncode is UriEncode of that page, with the slashes left.
func uriEncode(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/", rune(c)) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// TestTheFakeChecksSignaturesAsAWS holds the fake against the examples of that page.
func TestTheFakeChecksSignaturesAsAWS(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, test := range []struct{ uri, signed, want string }{
		{"/test.txt", "host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"/?lifecycle", "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"/?max-keys=2&prefix=J", "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		r := httptest.NewRequest(http.MethodGet, test.uri, nil)
		r.Host = "examplebucket.s3.amazonaws.com"
		for name, value := range map[string]string{
			"Range": "bytes=0-9", "X-Amz-Content-Sha256": empty, "X-Amz-Date": "20130524T000000Z",
			"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + test.signed + ",Signature=" + test.want,
		} {
			r.Header.Set(name, value)
		}
		if got, _, _ := signatureOf(r); got != test.want {
			t.Errorf("%s: got %s, want %s", test.uri, got, test.want)
		}
	}
}
