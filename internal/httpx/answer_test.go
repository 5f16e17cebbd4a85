package httpx_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

func TestDoIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "12345")
	}))
	defer server.Close()
	for limit, want := range map[int64]string{5: "12345", 4: ""} {
		request, err := http.NewRequest(http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, body, err := httpx.Do(http.DefaultClient, request, limit)
		if string(body) != want || (want != "" && (status != http.StatusTeapot || err != nil)) || (want == "" && fault.KindOf(err) != fault.Data) {
			t.Errorf("at most %d bytes: got %d, %q, %v", limit, status, body, err)
		}
	}
}

// talker returns the address of a server that says text to everybody.
func talker(t *testing.T, text string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadAtLeast(conn, make([]byte, 16), 16)
			_, _ = io.WriteString(conn, text)
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}()
	return listener.Addr().String()
}

func TestNoAnswerHasAKindAndNoQuery(t *testing.T) {
	for _, test := range []struct {
		url  string
		want fault.Kind
	}{
		{"http://" + talker(t, "220 ready\r\n"), fault.IO},
		{"https://" + talker(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), fault.Data},
		{"http://" + talker(t, ""), fault.IO},
		{"http://127.0.0.1:1", fault.Unavailable},
	} {
		request, err := http.NewRequest(http.MethodGet, test.url+"/?token=hunter2", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = httpx.Do(&http.Client{}, request, 10)
		if fault.KindOf(err) != test.want || err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v (%v), want %v", test.url, err, fault.KindOf(err), test.want)
		}
	}
}

func TestSaysIsOneShortLine(t *testing.T) {
	for body, want := range map[string]string{
		"":                             "",
		"Permission\n denied ":         ": Permission denied",
		"\x00\x01":                     "",
		strings.Repeat("x", 300):       ": " + strings.Repeat("x", 200),
		strings.Repeat("x", 199) + "é": ": " + strings.Repeat("x", 199),
	} {
		if got := httpx.Says([]byte(body)); got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}
