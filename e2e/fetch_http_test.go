package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/faultproxy"
	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// What an nginx serves: with ranges and without, to who logs in, slowly, and things that are not there.
func TestHTTPFetch(t *testing.T) {
	t.Parallel()
	web := fromNginx(t)
	content := noise(30, 20<<20)
	web.put(t, "object", content)
	web.put(t, "empty", nil)
	web.put(t, "one", []byte("1"))
	web.put(t, "SHA256SUMS", []byte(digest(content)+"  object\n"+digest(nil)+" *empty\n"))
	secrets := t.TempDir()
	write(t, filepath.Join(secrets, "right"), servers.Password+"\n")
	write(t, filepath.Join(secrets, "wrong"), "battery staple\n")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(servers.User+":"+servers.Password))
	for _, c := range []struct {
		name, path string
		options    []string
		exit       int
		text       string
		want       []byte
	}{
		{"ranges", "object", []string{"--sha256", digest(content)}, 0, "", content},
		{"no digest", "object", nil, 0, "", content},
		{"a manifest", "object", []string{"--sha256-file", "http://" + web.addr + "/SHA256SUMS"}, 0, "", content},
		{"no ranges", "whole/object", []string{"--sha256", digest(content)}, 0, "", content},
		{"slow", "slow/object", []string{"--sha256", digest(content)}, 0, "", content},
		{"empty", "empty", []string{"--sha256", digest(nil)}, 0, "", nil},
		{"one byte", "one", nil, 0, "", []byte("1")},
		{"wrong digest", "object", []string{"--sha256", digest(nil)}, 65, digest(content), nil},
		{"wrong digest, no ranges", "whole/object", []string{"--sha256", digest(nil)}, 65, digest(content), nil},
		{"not there", "objcet", nil, 66, "404", nil},
		{"who are you", "private/object", nil, 77, "401", nil},
		{"wrong password", "private/object", []string{"--username", servers.User, "--password-file", filepath.Join(secrets, "wrong")}, 77, "401", nil},
		{"right password", "private/object", []string{"--username", servers.User, "--password-file", filepath.Join(secrets, "right")}, 0, "", content},
		{"header", "private/object", []string{"--header-from", "Authorization=env:BASIC"}, 0, "", content},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			dest := filepath.Join(dir, "got")
			command := web.fetch(web.addr, c.path, dest, c.options...)
			command.Env = []string{"BASIC=" + basic}
			r := command.Run(t)
			expect(t, r, c.exit, c.text)
			hides(t, r, "battery staple")
			hides(t, r, servers.Password)
			hides(t, r, basic)
			if c.exit != 0 {
				alone(t, dir)
				return
			}
			holds(t, dest, c.want)
			alone(t, dir, "got")
		})
	}
}

func TestHTTPFetchOverTLS(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	pair := authority.Issue(t, "server")
	folder := servers.Dir(t)
	content := noise(31, 20<<20)
	if err := os.WriteFile(filepath.Join(folder, "object"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	n := servers.StartNginx(t, "ssl", fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s;", pair.Certificate, pair.Key)+servers.Files(t, folder))
	dest := filepath.Join(t.TempDir(), "object")
	fetch := []string{"http-fetch", "https://" + n.Addr + "/object", dest, "--retries", "0"}
	expect(t, slipway.Run(t, fetch...), 77, "certificate")
	absent(t, dest)
	expect(t, slipway.Run(t, append(fetch, "--ca-file", authority.File, "--sha256", digest(content))...), 0)
	holds(t, dest, content)
}

// A second run with the same digest asks for nothing; one without a digest asks whether there is another version at most. What
// was changed since is fetched again.
func TestFetchOfWhatIsThere(t *testing.T) {
	t.Parallel()
	content := noise(32, 40<<20)
	for _, o := range origins(t) {
		o.put(t, "object", content)
		for _, c := range []struct {
			name    string
			options []string
			asked   int64 // bytes, at most
		}{
			{"with a digest", []string{"--sha256", digest(content)}, 0},
			{"without", nil, int64(len(content))},
		} {
			t.Run(o.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				proxy := faultproxy.Start(t, o.addr)
				dir := t.TempDir()
				dest := filepath.Join(dir, "object")
				fetch := o.fetch(proxy.Addr, "object", dest, c.options...)
				expect(t, fetch.Run(t), 0)
				before, stands := proxy.Counts(), snapshot(t, dir)
				second := fetch.Run(t)
				expect(t, second, 0)
				after := proxy.Counts()
				t.Logf("second run %s, %d requests and %d bytes asked for", second.Elapsed, after.Requests-before.Requests, after.Asked-before.Asked)
				if got := after.Asked - before.Asked; got > c.asked {
					t.Errorf("the second run asked for %d bytes, want %d at most", got, c.asked)
				}
				if got := snapshot(t, dir); c.asked == 0 && got != stands {
					t.Errorf("the second run changed something: before\n%s\nafter\n%s", stands, got)
				}
				// A byte of the same file is changed, and its times are put back.
				info, err := os.Stat(dest)
				if err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(dest, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt([]byte{content[1000] ^ 0xff}, 1000); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(dest, info.ModTime(), info.ModTime()); err != nil {
					t.Fatal(err)
				}
				expect(t, fetch.Run(t), 0)
				holds(t, dest, content)
			})
		}
	}
}
