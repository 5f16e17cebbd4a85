// Package faultproxy stands between slipway and an HTTP server, counts what is asked for, and spoils answers on demand: the
// faults that want to know where a request begins and what it asks for. For those that do not, there is toxiproxy.
package faultproxy

import (
	"context"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy passes every request on as it came, Host included, so that signatures hold.
type Proxy struct {
	URL  string
	Addr string

	upstream  string
	transport *http.Transport
	rule      atomic.Pointer[func(*Request) Fault]

	requests atomic.Int64
	gets     atomic.Int64
	asked    atomic.Int64
	sent     atomic.Int64
}

// Request is a request that the rule decides about.
type Request struct {
	*http.Request
	Get int64 // which one of the GETs it is, from 1; 0 for other methods
}

// Fault is how an answer is spoiled. The zero value passes it on.
type Fault struct {
	// Status is answered instead of asking the server, with Header and Body; 0 asks it.
	Status int
	Header http.Header
	Body   string

	// IgnoreRange asks the server for the whole. It asks as nobody, because Range may be among what was signed.
	IgnoreRange bool
	// Claim replaces headers of the server's answer. An empty value removes one: without its Content-Length, the answer is
	// chunked.
	Claim map[string]string
	// Flip inverts the byte at this offset of the body, from 1; 0 none.
	Flip int64
	// Cut ends the connection after so many bytes of the body; None is before the first, 0 does not. Reset says that it ends
	// by RST.
	Cut   int64
	Reset bool
	// Hang stops after so many bytes of the body, until the client leaves; None is before the first, 0 does not.
	Hang int64
	// Rate is the most bytes of the body per second; 0 has no limit.
	Rate int64
}

// None is the number of bytes of a body that is cut off, or hangs, before its first one.
const None = -1

// Start starts a proxy in front of the server at upstream ("127.0.0.1:80").
func Start(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{upstream: upstream, transport: &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 64, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
	}}
	server := httptest.NewServer(p)
	p.URL, p.Addr = server.URL, server.Listener.Addr().String()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		p.transport.CloseIdleConnections()
	})
	return p
}

// Spoil sets the rule; nil passes everything on. The rule may be called by several requests at once.
func (p *Proxy) Spoil(rule func(*Request) Fault) {
	if rule == nil {
		p.rule.Store(nil)
		return
	}
	p.rule.Store(&rule)
}

// Counts is what passed through a proxy.
type Counts struct {
	Requests int64 // of every method
	Gets     int64
	Asked    int64 // bytes of bodies that the server's answers to GETs announced: what clients asked for
	Sent     int64 // bytes of bodies that were sent to clients
}

// Counts returns what has passed through so far.
func (p *Proxy) Counts() Counts {
	return Counts{p.requests.Load(), p.gets.Load(), p.asked.Load(), p.sent.Load()}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	request := &Request{Request: r}
	if r.Method == http.MethodGet {
		request.Get = p.gets.Add(1)
	}
	var fault Fault
	if rule := p.rule.Load(); rule != nil {
		fault = (*rule)(request)
	}
	if fault.Status != 0 {
		maps.Copy(w.Header(), fault.Header)
		w.WriteHeader(fault.Status)
		_, _ = io.WriteString(w, fault.Body)
		return
	}
	response, err := p.forward(r, fault)
	if err != nil {
		panic(http.ErrAbortHandler) // as if the server had hung up
	}
	defer response.Body.Close()
	if r.Method == http.MethodGet {
		p.asked.Add(max(0, response.ContentLength))
	}
	maps.Copy(w.Header(), response.Header)
	for name, value := range fault.Claim {
		if value == "" {
			w.Header().Del(name)
		} else {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(response.StatusCode)
	body := io.Reader(response.Body)
	if claimed, err := strconv.ParseInt(fault.Claim["Content-Length"], 10, 64); err == nil {
		body = io.LimitReader(body, claimed) // net/http writes nothing of a chunk that goes beyond
	}
	p.body(w, r, body, fault)
}

// forward asks the server what the client asked.
func (p *Proxy) forward(r *http.Request, fault Fault) (*http.Response, error) {
	onward := r.Clone(r.Context())
	onward.URL.Scheme, onward.URL.Host, onward.RequestURI = "http", p.upstream, ""
	if fault.IgnoreRange {
		for name := range onward.Header {
			switch {
			case name == "Range", name == "If-Range", name == "Authorization", strings.HasPrefix(name, "X-Amz-"):
				onward.Header.Del(name)
			}
		}
	}
	return p.transport.RoundTrip(onward)
}

// body passes a body on, as far as the fault lets it.
func (p *Proxy) body(w http.ResponseWriter, r *http.Request, body io.Reader, fault Fault) {
	buffer := make([]byte, 64<<10)
	if fault.Rate > 0 {
		buffer = buffer[:max(1, min(fault.Rate/20, int64(len(buffer))))]
	}
	var sent int64
	for {
		n, err := body.Read(buffer)
		chunk := buffer[:n]
		if at := fault.Flip - 1 - sent; at >= 0 && at < int64(n) {
			chunk[at] ^= 0xff
		}
		end := min(left(fault.Cut, sent), left(fault.Hang, sent))
		chunk = chunk[:min(int64(n), end)]
		written, gone := w.Write(chunk)
		sent += int64(written)
		p.sent.Add(int64(written))
		switch {
		case gone != nil:
			return
		case int64(len(chunk)) == end && fault.Hang != 0:
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		case int64(len(chunk)) == end:
			hangUp(w, fault.Reset)
		case err == io.EOF:
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		if fault.Rate > 0 && !pause(r.Context(), time.Duration(written)*time.Second/time.Duration(fault.Rate)) {
			return
		}
	}
}

// left returns how many bytes are left until a limit.
func left(limit, sent int64) int64 {
	switch limit {
	case 0:
		return math.MaxInt64
	case None:
		return 0
	}
	return limit - sent
}

// hangUp ends the connection in the middle of an answer, by RST or as a process that ends does.
func hangUp(w http.ResponseWriter, reset bool) {
	control := http.NewResponseController(w)
	_ = control.Flush()
	if reset {
		if conn, _, err := control.Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// pause waits, unless the client leaves before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
