package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// content is what the server behind the proxy of a test holds.
var content = strings.Repeat("0123456789abcdef", 64<<10)

func start(t *testing.T) *Proxy {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Seen-Host", r.Host)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	t.Cleanup(server.Close)
	return Start(t, server.Listener.Addr().String())
}

// get asks for a range, if one is given, and returns the answer, its body and how reading that ended.
func get(t *testing.T, p *Proxy, asked string) (*http.Response, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if asked != "" {
		request.Header.Set("Range", asked)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func TestAnswersPassAndAreCounted(t *testing.T) {
	p := start(t)
	response, body, err := get(t, p, "")
	if err != nil || body != content || response.Header.Get("Seen-Host") != p.Addr {
		t.Errorf("got %d bytes, %v, for host %q", len(body), err, response.Header.Get("Seen-Host"))
	}
	if _, body, err = get(t, p, "bytes=16-31"); err != nil || body != "0123456789abcdef" {
		t.Errorf("got %q, %v", body, err)
	}
	if got, want := p.Counts(), (Counts{Requests: 2, Gets: 2, Asked: 1<<20 + 16, Sent: 1<<20 + 16}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFaults(t *testing.T) {
	flipped := []byte(content)
	flipped[99] ^= 0xff
	for _, c := range []struct {
		name   string
		fault  Fault
		status int
		body   string
		err    error
	}{
		{"refusal", Fault{Status: 503, Header: http.Header{"Retry-After": {"1"}}, Body: "slow down"}, 503, "slow down", nil},
		{"range ignored", Fault{IgnoreRange: true}, 200, content, nil},
		{"flipped byte", Fault{Flip: 100, IgnoreRange: true}, 200, string(flipped), nil},
		{"cut off", Fault{Cut: 1000}, 206, content[:1000], io.ErrUnexpectedEOF},
		{"cut off before the first byte", Fault{Cut: None}, 206, "", io.ErrUnexpectedEOF},
		{"reset", Fault{Cut: 100_000, Reset: true}, 206, "", syscall.ECONNRESET},
		{"more claimed", Fault{Claim: map[string]string{"Content-Length": "2000000"}}, 206, content, io.ErrUnexpectedEOF},
		{"less claimed", Fault{Claim: map[string]string{"Content-Length": "10"}}, 206, content[:10], nil},
		{"nothing claimed, and cut off", Fault{Claim: map[string]string{"Content-Length": ""}, Cut: 10}, 206, content[:10], io.ErrUnexpectedEOF},
		{"slow", Fault{Rate: 20 << 20}, 206, content, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t)
			p.Spoil(func(r *Request) Fault {
				if r.Get != 1 {
					t.Errorf("got request %d, want the first", r.Get)
				}
				return c.fault
			})
			response, body, err := get(t, p, "bytes=0-")
			if !errors.Is(err, c.err) {
				t.Fatalf("got error %v, want %v", err, c.err)
			}
			if response.StatusCode != c.status {
				t.Errorf("got status %d, want %d", response.StatusCode, c.status)
			}
			if body != c.body && c.body != "" {
				t.Errorf("got %d bytes, want %d; they differ at %d", len(body), len(c.body), differ(body, c.body))
			}
		})
	}
}

// differ returns where two texts differ first.
func differ(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// An answer that hangs ends when its client leaves, and the proxy with its test.
func TestAnswerHangs(t *testing.T) {
	p := start(t)
	p.Spoil(func(*Request) Fault { return Fault{Hang: 10} })
	response, err := http.Get(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 10)
	if _, err := io.ReadFull(response.Body, first); err != nil || !bytes.Equal(first, []byte(content[:10])) {
		t.Errorf("got %q, %v", first, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	if got := p.Counts().Sent; got != 10 {
		t.Errorf("sent %d bytes, want 10", got)
	}
}
