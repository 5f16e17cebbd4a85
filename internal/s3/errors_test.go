package s3

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		status  int
		code    string
		message string
		kind    fault.Kind
		want    string
		hint    string // a piece of it
	}{
		{404, "NoSuchKey", "The specified key does not exist.", fault.NoInput, "get s3://models/k: NoSuchKey: The specified key does not exist (404, request 4442587FB7D0A2F9)", "exact"},
		{404, "NoSuchBucket", "The specified bucket does not exist", fault.NoInput, "get s3://models/k: NoSuchBucket: The specified bucket does not exist (404, request 4442587FB7D0A2F9)", "endpoint"},
		{404, "NoSuchVersion", "", fault.NoInput, "get s3://models/k: NoSuchVersion (404, request 4442587FB7D0A2F9)", "version"},
		{403, "AccessDenied", "Access Denied", fault.Permission, "get s3://models/k: AccessDenied: Access Denied (403, request 4442587FB7D0A2F9)", "s3:ListBucket"},
		{403, "InvalidAccessKeyId", "", fault.Permission, "get s3://models/k: InvalidAccessKeyId (403, request 4442587FB7D0A2F9)", "does not exist there"},
		{403, "SignatureDoesNotMatch", "", fault.Permission, "get s3://models/k: SignatureDoesNotMatch (403, request 4442587FB7D0A2F9)", "secret key"},
		{400, "ExpiredToken", "", fault.Permission, "get s3://models/k: ExpiredToken (400, request 4442587FB7D0A2F9)", "session is over"},
		{400, "InvalidRequest", "The object was stored using a form of Server Side Encryption.", fault.Permission, "get s3://models/k: InvalidRequest: The object was stored using a form of Server Side Encryption (400, request 4442587FB7D0A2F9)", "SSE-C"},
		{403, "InvalidObjectState", "The operation is not valid for the object's storage class", fault.NoInput, "get s3://models/k: InvalidObjectState: The operation is not valid for the object's storage class (403, request 4442587FB7D0A2F9)", "GLACIER"},
		{400, "KMS.DisabledException", "", fault.Permission, "get s3://models/k: KMS.DisabledException (400, request 4442587FB7D0A2F9)", "kms:Decrypt"},
		{403, "AccessDenied", "User is not authorized to perform: kms:Decrypt", fault.Permission, "get s3://models/k: AccessDenied: User is not authorized to perform: kms:Decrypt (403, request 4442587FB7D0A2F9)", "kms:Decrypt on it"},
		{503, "SlowDown", "Please reduce your request rate.", fault.Temporary, "get s3://models/k: SlowDown: Please reduce your request rate (503, request 4442587FB7D0A2F9)", ""},
		{400, "RequestTimeout", "", fault.Temporary, "get s3://models/k: RequestTimeout (400, request 4442587FB7D0A2F9)", ""},
		{500, "InternalError", "", fault.Temporary, "get s3://models/k: InternalError (500, request 4442587FB7D0A2F9)", ""},
		{429, "TooManyRequests", "", fault.Temporary, "get s3://models/k: TooManyRequests (429, request 4442587FB7D0A2F9)", ""},
		{405, "MethodNotAllowed", "", fault.Data, "get s3://models/k: MethodNotAllowed (405, request 4442587FB7D0A2F9)", ""},
		{400, "InvalidArgument", "Invalid version id specified", fault.Data, "get s3://models/k: InvalidArgument: Invalid version id specified (400, request 4442587FB7D0A2F9)", ""},
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if test.code == "InvalidObjectState" {
				w.Header().Set("X-Amz-Storage-Class", "GLACIER")
			}
			refuse(w, test.status, test.code, test.message)
		}).plain()
		_, err := f.open(t, Options{}).Get(ctx, "k", GetOptions{})
		refused, ok := errors.AsType[*Error](err)
		if !ok || err.Error() != test.want || fault.KindOf(err) != test.kind || refused.Status != test.status || refused.Code != test.code {
			t.Errorf("%s: got %v (%v), want %s (%v)", test.code, err, fault.KindOf(err), test.want, test.kind)
		}
		if hint := fault.HintOf(err); !strings.Contains(hint, test.hint) || (hint == "") != (test.hint == "") {
			t.Errorf("%s: got the hint %q, want %s in it", test.code, hint, test.hint)
		}
	}
}

func TestRefusalsWithoutABody(t *testing.T) {
	for _, test := range []struct {
		status int
		header map[string]string
		kind   fault.Kind
		want   string
		hint   string
	}{
		{404, nil, fault.NoInput, "head s3://models/k: not found (404)", "exact"},
		{404, map[string]string{"X-Amz-Delete-Marker": "true"}, fault.NoInput, "head s3://models/k: not found (404)", "deleted"},
		{405, map[string]string{"X-Amz-Delete-Marker": "true"}, fault.NoInput, "head s3://models/k: method not allowed (405)", "delete marker"},
		{403, nil, fault.Permission, "head s3://models/k: forbidden (403)", "s3:GetObject"},
		{400, nil, fault.Permission, "head s3://models/k: bad request (400)", "SSE-C"},
		{503, nil, fault.Temporary, "head s3://models/k: service unavailable (503)", ""},
		{799, nil, fault.Temporary, "head s3://models/k: refused (799)", ""},
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range test.header {
				w.Header().Set(name, value)
			}
			w.WriteHeader(test.status)
		}).secure()
		_, err := f.open(t, Options{}).Head(ctx, "k", GetOptions{})
		if err == nil || err.Error() != test.want || fault.KindOf(err) != test.kind || !strings.Contains(fault.HintOf(err), test.hint) {
			t.Errorf("got %v (%v), hint %s, want %s (%v)", err, fault.KindOf(err), fault.HintOf(err), test.want, test.kind)
		}
	}
}

func TestTheAnonymousAreToldThatTheyAre(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, 403, "AccessDenied", "Access Denied") }).plain()
	_, err := f.open(t, Options{Anonymous: true}).Get(ctx, "k", GetOptions{})
	if !strings.Contains(fault.HintOf(err), "--no-sign-request") {
		t.Errorf("got the hint %q", fault.HintOf(err))
	}
}

func TestARefusalIsBoundedAndOneLine(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, 500, "Odd\nCode", "a\nb\x00"+strings.Repeat("x", 1<<20))
	}).plain()
	_, err := f.open(t, Options{}).Get(ctx, "k", GetOptions{})
	if err == nil || len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x00") {
		t.Errorf("got %q", err)
	}
}

func TestRefusalsThatAreNotS3s(t *testing.T) {
	for body, want := range map[string]string{
		"Client sent an HTTP request to an HTTPS server.\n": "get s3://models/k: bad request: Client sent an HTTP request to an HTTPS server (400)",
		"<html><h1>Bad Gateway</h1></html>":                 "get s3://models/k: bad request (400)",
		"":                                                  "get s3://models/k: bad request (400)",
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, body)
		}).plain()
		if _, err := f.open(t, Options{}).Get(ctx, "k", GetOptions{}); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", body, err, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-3": 0, "soon": 0, "99999": time.Hour,
		time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat):  time.Hour,
		time.Now().Add(-48 * time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", text)
			refuse(w, 503, "SlowDown", "")
		}).plain()
		_, err := f.open(t, Options{}).Get(ctx, "k", GetOptions{})
		if refused, ok := errors.AsType[*Error](err); !ok || refused.RetryAfter != want {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add([]byte("<Error><Code>NoSuchKey</Code><Message>m</Message><Region>eu-west-1</Region><ActualObjectSize>5</ActualObjectSize></Error>"))
	f.Add([]byte("<Error><Code>a\nb</Code><ActualObjectSize>x</ActualObjectSize></Error>"))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := &Error{Operation: "get", Object: "s3://models/k", Status: 400, Size: -1}
		e.read(body)
		e.Code, e.RequestID = line(e.Code), line(e.RequestID)
		if strings.ContainsAny(e.Error(), "\n\r\x00") {
			t.Errorf("got %q", e.Error())
		}
		if kind := e.kind(); kind == fault.Internal || kind == 0 {
			t.Errorf("got the kind %v", kind)
		}
	})
}
