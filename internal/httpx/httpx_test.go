package httpx_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

func TestRedirectsStayOnTheHost(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/same", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) })
	mux.HandleFunc("/there", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	server := httptest.NewServer(mux)
	defer server.Close()
	client := &http.Client{CheckRedirect: httpx.SameHost}
	tests := []struct {
		path string
		want fault.Kind
	}{{"/same", 0}, {"/other", fault.Permission}, {"/loop", fault.Data}}
	for _, test := range tests {
		response, err := client.Get(server.URL + test.path + "?token=s3cret")
		if err == nil {
			response.Body.Close()
		}
		if test.want == 0 && err != nil || test.want != 0 && fault.KindOf(err) != test.want {
			t.Errorf("%s: got %v, want %v", test.path, err, test.want)
		}
	}
}

func TestRedirectToHTTPIsRefused(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace("https://"+r.Host, "https", "http", 1), http.StatusFound)
	}))
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = httpx.SameHost
	response, err := client.Get(server.URL)
	if err == nil {
		response.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "redirect from https to http refused") {
		t.Errorf("got %v", err)
	}
}

func TestRedactHidesPasswordAndQuery(t *testing.T) {
	u, err := url.Parse("https://user:hunter2@host/path?X-Amz-Signature=hunter3#f")
	if err != nil {
		t.Fatal(err)
	}
	if got := httpx.Redact(u); strings.Contains(got, "hunter") || !strings.Contains(got, "host/path") {
		t.Errorf("got %s", got)
	}
}

func TestDeriveKeepsTheWrapping(t *testing.T) {
	wrapped := &wrapping{base: &http.Transport{}}
	derived := httpx.Derive(&http.Client{Transport: wrapped}, func(transport *http.Transport) {
		transport.TLSClientConfig = &tls.Config{ServerName: "x"}
	})
	got, ok := derived.Transport.(*wrapping)
	if !ok || got.base.TLSClientConfig.ServerName != "x" {
		t.Errorf("got %#v", derived.Transport)
	}
	if wrapped.base.TLSClientConfig != nil && wrapped.base.TLSClientConfig.ServerName == "x" {
		t.Error("the original was changed")
	}
	if plain := httpx.Derive(&http.Client{}, func(transport *http.Transport) { transport.DisableKeepAlives = true }); !plain.Transport.(*http.Transport).DisableKeepAlives {
		t.Error("the default transport was not derived")
	}
}

type wrapping struct{ base *http.Transport }

func (w *wrapping) RoundTrip(r *http.Request) (*http.Response, error) { return w.base.RoundTrip(r) }

func (w *wrapping) Derive(change func(*http.Transport)) http.RoundTripper {
	base := w.base.Clone()
	change(base)
	return &wrapping{base: base}
}
