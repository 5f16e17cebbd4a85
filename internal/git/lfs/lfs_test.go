package lfs_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/lfs"
)

var oid = strings.Repeat("ab", 32)

func TestPointers(t *testing.T) {
	p, err := lfs.ParsePointer([]byte("version https://git-lfs.github.com/spec/v1\next-0-x y\noid sha256:" + oid + "\nsize 12\n"))
	if p != (lfs.Pointer{OID: oid, Size: 12}) || err != nil {
		t.Errorf("got %+v, %v", p, err)
	}
	for _, text := range []string{"", "oid sha256:../../x\nsize 1\n", "oid sha256:" + oid + "\nsize -1\n", "oid md5:" + oid + "\nsize 1\n", "oid sha256:" + strings.ToUpper(oid) + "\nsize 1\n"} {
		if _, err := lfs.ParsePointer([]byte(text)); fault.KindOf(err) != fault.Data {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestLocate(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int
		want         string // the address, or "" and a kind
		kind         fault.Kind
	}{
		{"there", `{"objects":[{"oid":%q,"size":1,"actions":{"download":{"href":"https://s3.example.org/x?sig=1","header":{"X":"y"}}}}]}`, 200, "https://s3.example.org/x?sig=1", 0},
		{"not there", `{"objects":[{"oid":%q,"error":{"code":404,"message":"no"}}]}`, 200, "", fault.NoInput},
		{"left out", `{"objects":[{"oid":"x%s","actions":{"download":{"href":"https://x/"}}}]}`, 200, "", fault.Data},
		{"a path", `{"objects":[{"oid":%q,"actions":{"download":{"href":"file:///etc/passwd"}}}]}`, 200, "", fault.Data},
		{"no action", `{"objects":[{"oid":%q}]}`, 200, "", fault.Data},
		{"no JSON", `<html>%s`, 200, "", fault.Data},
		{"refused", `{"message":"who are you %s"}`, 401, "", fault.Permission},
		{"no LFS", `%s`, 404, "", fault.NoInput},
		{"busy", `%s`, 503, "", fault.Temporary},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.status)
			fmt.Fprintf(w, c.answer, oid)
		}))
		u, _ := url.Parse(server.URL)
		api := &lfs.Server{URL: u, Client: server.Client(), Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Basic secret") }}
		sources, err := api.Locate(context.Background(), []lfs.Pointer{{OID: oid, Size: 1}})
		server.Close()
		if c.want == "" {
			if err == nil || fault.KindOf(err) != c.kind {
				t.Errorf("%s: got %v, want %v", c.name, err, c.kind)
			}
			continue
		}
		if err != nil || len(sources) != 1 || sources[0].URL.String() != c.want {
			t.Fatalf("%s: got %+v, %v", c.name, sources, err)
		}
		// What proves who asks stays with the API's own host.
		o := api.Object(sources[0])
		if o.Header.Get("Authorization") != "" || o.Header.Get("X") != "y" {
			t.Errorf("%s: got the header %v", c.name, o.Header)
		}
	}
}

func FuzzParsePointer(f *testing.F) {
	f.Add([]byte("oid sha256:" + oid + "\nsize 12\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := lfs.ParsePointer(text); err == nil && (len(p.OID) != 64 || p.Size < 0) {
			t.Errorf("got %+v", p)
		}
	})
}
