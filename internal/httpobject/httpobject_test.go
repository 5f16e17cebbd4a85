package httpobject_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpobject"
	"github.com/slipway-init/slipway/internal/transfer"
)

// object returns the object at address, whose query is a secret.
func object(t *testing.T, address string) *httpobject.Object {
	t.Helper()
	u, err := url.Parse(address + "/o?token=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	httpobject.Tune(transport, 2)
	t.Cleanup(transport.CloseIdleConnections)
	return &httpobject.Object{Client: &http.Client{Transport: transport}, URL: u}
}

// answering returns an object whose server answers so.
func answering(t *testing.T, answer http.HandlerFunc) *httpobject.Object {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return object(t, server.URL)
}

func TestStatuses(t *testing.T) {
	for _, test := range []struct {
		status int
		header http.Header
		kind   fault.Kind
		text   string
		hint   string
		after  time.Duration
	}{
		{status: 204, kind: fault.Data, text: "the server answered 204 No Content"},
		{status: 300, kind: fault.Data, text: "the server answered 300 Multiple Choices"},
		{status: 400, kind: fault.Data, text: "the server answered 400 Bad Request"},
		{status: 401, kind: fault.Permission, text: "the server answered 401 Unauthorized", hint: "--header-from 'Authorization=Bearer file:"},
		{status: 403, kind: fault.Permission, text: "the server answered 403 Forbidden", hint: "--password-file"},
		{status: 404, kind: fault.NoInput, text: "the server answered 404 Not Found", hint: "path of the URL"},
		{status: 407, kind: fault.Permission, text: "the server answered 407 Proxy Authentication Required"},
		{status: 410, kind: fault.NoInput, text: "the server answered 410 Gone", hint: "path of the URL"},
		{status: 425, kind: fault.Temporary, text: "the server answered 425 Too Early"},
		{status: 429, header: http.Header{"Retry-After": {"7"}}, kind: fault.Temporary, text: "the server answered 429 Too Many Requests", after: 7 * time.Second},
		{status: 500, kind: fault.Temporary, text: "the server answered 500 Internal Server Error"},
		{status: 503, header: http.Header{"Retry-After": {"999999999999"}}, kind: fault.Temporary, text: "the server answered 503 Service Unavailable", after: time.Hour},
		{status: 503, header: http.Header{"Retry-After": {"-1"}}, kind: fault.Temporary, text: "the server answered 503 Service Unavailable"},
		{status: 599, kind: fault.Temporary, text: "the server answered 599"},
		{status: 416, header: http.Header{"Content-Range": {"bytes */9"}}, kind: fault.Data, text: `the server refuses bytes from 0 on and says that the object has "9"`},
	} {
		t.Run(test.text, func(t *testing.T) {
			o := answering(t, func(w http.ResponseWriter, r *http.Request) {
				for name, values := range test.header {
					w.Header()[name] = values
				}
				w.WriteHeader(test.status)
			})
			_, err := o.Get(t.Context(), transfer.Range{Length: 4}, "")
			if err == nil || fault.KindOf(err) != test.kind || err.Error() != test.text {
				t.Errorf("got %v (%v), want %s (%v)", err, fault.KindOf(err), test.text, test.kind)
			}
			if hint := fault.HintOf(err); !strings.Contains(hint, test.hint) || test.hint == "" && hint != "" {
				t.Errorf("got the hint %q, want %q in it", hint, test.hint)
			}
			if after := fault.AfterOf(err); after != test.after {
				t.Errorf("got %s to wait, want %s", after, test.after)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	type answer struct {
		Offset, Length, Size int64
		Version, body        string
	}
	for _, test := range []struct {
		name    string
		header  http.Header
		status  int
		body    string
		r       transfer.Range
		version string
		want    answer
		err     string // in the error; "changed" is transfer.ErrChanged
	}{
		{name: "whole", status: 200, body: "0123456789", header: http.Header{"Etag": {`"a"`}}, want: answer{0, 10, 10, `"a"`, "0123456789"}},
		{name: "a range", status: 206, body: "234", r: transfer.Range{Offset: 2, Length: 3}, header: http.Header{"Etag": {`"a"`}, "Content-Range": {"bytes 2-4/10"}}, want: answer{2, 3, 10, `"a"`, "234"}},
		{name: "a range of an object of unknown size", status: 206, body: "234", r: transfer.Range{Offset: 2, Length: 3}, header: http.Header{"Content-Range": {"bytes 2-4/*"}}, want: answer{2, 3, transfer.Unknown, "", "234"}},
		{name: "a range ignored", status: 200, body: "0123456789", r: transfer.Range{Offset: 2, Length: 3}, want: answer{0, 10, 10, "", "0123456789"}},
		{name: "the version that was asked for", status: 206, body: "2", r: transfer.Range{Offset: 2, Length: 1}, version: `"a"`, header: http.Header{"Etag": {`"a"`}, "Content-Range": {"bytes 2-2/10"}}, want: answer{2, 1, 10, `"a"`, "2"}},
		{name: "another version", status: 200, body: "new", r: transfer.Range{Offset: 2, Length: 3}, version: `"a"`, header: http.Header{"Etag": {`"b"`}}, err: "changed"},
		{name: "shorter now", status: 416, r: transfer.Range{Offset: 2, Length: 3}, version: `"a"`, header: http.Header{"Content-Range": {"bytes */2"}}, err: "changed"},
		{name: "empty", status: 416, r: transfer.Range{Length: 3}, header: http.Header{"Content-Range": {"bytes */0"}}, want: answer{}},
		{name: "a part instead of the whole", status: 206, body: "2", header: http.Header{"Content-Range": {"bytes 2-2/10"}}, err: "the whole object was asked for, and the server answered with bytes 2 to 2"},
		{name: "no Content-Range", status: 206, body: "2", r: transfer.Range{Length: 1}, err: `Content-Range "" is none`},
		{name: "lengths that differ", status: 206, body: "23", r: transfer.Range{Length: 1}, header: http.Header{"Content-Range": {"bytes 0-0/10"}}, err: "Content-Range is of 1 bytes, and its Content-Length 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := answering(t, func(w http.ResponseWriter, r *http.Request) {
				for name, values := range test.header {
					w.Header()[name] = values
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			got, err := o.Get(t.Context(), test.r, test.version)
			if test.err != "" {
				if test.err == "changed" && !errors.Is(err, transfer.ErrChanged) || test.err != "changed" && (fault.KindOf(err) != fault.Data || !strings.Contains(err.Error(), test.err)) {
					t.Errorf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			body, err := io.ReadAll(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got := (answer{got.Offset, got.Length, got.Size, got.Version, string(body)}); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestWhatIsAsked(t *testing.T) {
	var header http.Header
	o := answering(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		w.Header().Set("ETag", `"a"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	})
	o.Header = http.Header{"Authorization": {"Bearer t"}, "Accept-Encoding": {"gzip"}}
	for _, test := range []struct {
		r                        transfer.Range
		version, rang, condition string
	}{
		{},
		{r: transfer.Range{Length: 4}, rang: "bytes=0-3"},
		{r: transfer.Range{Offset: 4, Length: 2}, version: `"a"`, rang: "bytes=4-5", condition: `"a"`},
	} {
		answer, err := o.Get(t.Context(), test.r, test.version)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if header.Get("Range") != test.rang || header.Get("If-Range") != test.condition ||
			header.Get("Authorization") != "Bearer t" || header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%+v: asked with %v", test, header)
		}
	}
	if o.Header.Get("Range") != "" || o.Header.Get("Accept-Encoding") != "gzip" {
		t.Errorf("the object's own header was changed: %v", o.Header)
	}
}

func TestVersionsAreStrongValidators(t *testing.T) {
	now := time.Now().UTC()
	at := func(ago time.Duration) string { return now.Add(-ago).Format(http.TimeFormat) }
	for _, test := range []struct {
		name, etag, modified, date, want string
	}{
		{name: "none"},
		{name: "a strong tag", etag: `"a"`, modified: at(time.Hour), date: at(0), want: `"a"`},
		{name: "a weak tag", etag: `W/"a"`, date: at(0)},
		{name: "a weak tag and an old date", etag: `W/"a"`, modified: at(time.Hour), date: at(0), want: at(time.Hour)},
		{name: "a tag without quotes", etag: `a`, date: at(0)},
		{name: "a minute", modified: at(time.Minute), date: at(0), want: at(time.Minute)},
		{name: "less than a minute", modified: at(59 * time.Second), date: at(0)},
		{name: "of the future", modified: at(-time.Hour), date: at(0)},
		{name: "no date", modified: "yesterday", date: at(0)},
		{name: "a clock that says nothing", modified: at(time.Hour), date: "now"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := answering(t, func(w http.ResponseWriter, r *http.Request) {
				for name, value := range map[string]string{"Etag": test.etag, "Last-Modified": test.modified, "Date": test.date} {
					if value != "" {
						w.Header().Set(name, value)
					}
				}
			})
			answer, err := o.Get(t.Context(), transfer.Range{}, "")
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.Version != test.want {
				t.Errorf("got %q, want %q", answer.Version, test.want)
			}
		})
	}
}

func TestTheHostMayBeAnother(t *testing.T) {
	var host string
	o := answering(t, func(w http.ResponseWriter, r *http.Request) { host = r.Host })
	for want, header := range map[string]http.Header{"repo.example.com": {"Host": {"repo.example.com"}}, o.URL.Host: nil} {
		o.Header = header
		answer, err := o.Get(t.Context(), transfer.Range{}, "")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if host != want {
			t.Errorf("got the host %s, want %s", host, want)
		}
	}
}

func TestIdentitiesDifferAndTellNoSecret(t *testing.T) {
	seen := make(map[string]bool)
	for _, query := range []string{"", "?id=hunter2", "?id=hunter3"} {
		u, err := url.Parse("https://me:hunter2@repo/a" + query)
		if err != nil {
			t.Fatal(err)
		}
		identity := (&httpobject.Object{URL: u}).Identity()
		if seen[identity] || strings.Contains(identity, "hunter") || !strings.Contains(identity, "repo/a") {
			t.Errorf("%s: got %s", query, identity)
		}
		seen[identity] = true
	}
}

func TestUnchangedAsksForOneByte(t *testing.T) {
	var asked string
	version := `"a"`
	o := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Range")
		w.Header().Set("ETag", version)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	})
	for _, want := range []bool{true, false} {
		got, err := o.Unchanged(t.Context(), `"a"`)
		if err != nil || got != want || asked != "bytes=0-0" {
			t.Errorf("got %v, %v after %q, want %v", got, err, asked, want)
		}
		version = `"b"`
	}
	gone := answering(t, http.NotFound)
	if _, err := gone.Unchanged(t.Context(), `"a"`); fault.KindOf(err) != fault.NoInput {
		t.Errorf("got %v, want NoInput", err)
	}
}

func TestServersThatDoNotSpeakHTTP(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		secure       bool
		kind         fault.Kind
	}{
		{name: "another protocol", answer: "220 mail.example.com ESMTP\r\n", kind: fault.IO},
		{name: "nothing", kind: fault.IO},
		{name: "a header that is none", answer: "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", kind: fault.IO},
		{name: "a header without an end", answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 20000), kind: fault.IO},
		{name: "two lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", kind: fault.IO},
		{name: "a length below zero", answer: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", kind: fault.IO},
		{name: "no TLS", secure: true, answer: "HTTP/1.1 400 Bad Request\r\n\r\n", kind: fault.IO},
		{name: "a redirect to nowhere", answer: "HTTP/1.1 302 Found\r\nLocation: ://?token=hunter2\r\nContent-Length: 0\r\n\r\n", kind: fault.Data},
		{name: "a redirect without a place", answer: "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", kind: fault.Data},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					if !test.secure {
						http.ReadRequest(bufio.NewReader(conn))
					}
					io.WriteString(conn, test.answer)
					conn.Close()
				}
			}()
			defer func() { listener.Close(); <-done }()
			address := "http://" + listener.Addr().String()
			if test.secure {
				address = "https://" + listener.Addr().String()
			}
			o := object(t, address)
			defer o.Client.CloseIdleConnections()
			_, err = o.Get(t.Context(), transfer.Range{Length: 1}, "")
			if err == nil || fault.KindOf(err) != test.kind {
				t.Errorf("got %v (%v), want %v", err, fault.KindOf(err), test.kind)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has a secret: %v", err)
			}
		})
	}
}

func TestErrorsKeepTheirKindAndNoQuery(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	listener.Close()
	o := object(t, address)
	_, err = o.Get(t.Context(), transfer.Range{}, "")
	if fault.KindOf(err) != fault.Unavailable || strings.Contains(err.Error(), "hunter2") || strings.Contains(o.String(), "hunter2") {
		t.Errorf("got %v (%v) of %s, want Unavailable without the query", err, fault.KindOf(err), o)
	}
	refused := fault.New(fault.Permission, "no")
	moved := answering(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	moved.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return refused }
	if _, err := moved.Get(t.Context(), transfer.Range{}, ""); err != refused {
		t.Errorf("got %v, want %v and nothing before it", err, refused)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := moved.Get(ctx, transfer.Range{}, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
