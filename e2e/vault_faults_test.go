package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/vault"
)

// What cannot be rendered is told with its path or key, the names of its neighbours, and the policy that would help; no
// file appears.
func TestVaultRenderSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	stranger := pki.New(t, servers.Dir(t))
	closed := servers.FreePort(t)
	for _, c := range []struct {
		name, template string
		options        []string
		exit           int
		texts          []string
	}{
		{
			"no permission", `{{ with secret "secret/data/forbidden" }}{{ .Data.data.key }}{{ end }}`, nil, 77,
			[]string{"secret/data/forbidden", `path \"secret/data/forbidden\" { capabilities = [\"read\"] }`},
		},
		{"no such secret", `{{ with secret "secret/data/ap" }}{{ .Data.data.user }}{{ end }}`, nil, 77, []string{"secret/data/ap"}},
		{
			"no such secret in a folder", `{{ with secret "secret/data/app/mial" }}{{ .Data.data.host }}{{ end }}`, nil, 66,
			[]string{"secret/data/app/mial", "mail"},
		},
		{"no such secret of version 1", `{{ with secret "old/ap" }}{{ .Data.user }}{{ end }}`, nil, 66, []string{"old/ap", "app"}},
		{"no such version", `{{ with secret "secret/data/app?version=9" }}{{ .Data.data.user }}{{ end }}`, nil, 66, []string{"secret/data/app"}},
		{"no such mount", `{{ with secret "nowhere/app" }}{{ .Data.user }}{{ end }}`, nil, 66, []string{"nowhere/app"}},
		{
			"no such key", `{{ with secret "secret/data/app" }}{{ .Data.data.pasword }}{{ end }}`, nil, 65,
			[]string{"pasword", "password", "user"},
		},
		{"no such function", `{{ range services }}{{ end }}`, nil, 65, []string{"services", "Consul"}},
		{"no template", `{{ with secret "secret/data/app" }}`, nil, 65, []string{"unexpected EOF"}},
		{"no authority that we know", appTemplate, append(s.login(), "--ca-file", stranger.File), 77, []string{"certificate"}},
		{"nobody listens", appTemplate, append(s.login(), "--address", "https://127.0.0.1:"+closed, "--retries", "1"), 69, []string{"connection refused"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dest := strings.ReplaceAll(c.name, " ", "-")
			options := c.options
			if options == nil {
				options = s.login()
			}
			r := s.render(t, c.template, dest, last(options)...)
			expect(t, r, c.exit, c.texts...)
			hides(t, r, s.password)
			hides(t, r, "mail.internal")
			if slices.Contains(names(t, s.dir), dest) {
				t.Error("there is a file all the same")
			}
		})
	}
}

// last returns options ("--name value" pairs) of which each name stands there once, with its last value.
func last(options []string) []string {
	var once []string
	for i := 0; i+1 < len(options); i += 2 {
		if at := slices.Index(once, options[i]); at >= 0 {
			once[at+1] = options[i+1]
			continue
		}
		once = append(once, options[i], options[i+1])
	}
	return once
}

// noCore is what /proc/PID/limits says of a process that leaves no core dump.
var noCore = regexp.MustCompile(`Max core file size +0 `)

// A sealed server is waited for.
func TestVaultRenderWaitsForASealedServer(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	s.Seal(t)
	refused := s.render(t, appTemplate, "out", append(s.login(), "--retries", "0")...)
	expect(t, refused, 75, "sealed")
	waiting := slipway.Command{
		Args: append([]string{"vault-render", "--retries", "100", "--timeout", "60s", s.source(t, appTemplate), s.path("out")}, s.login()...),
	}.Start(t)
	waiting.AwaitStderr(t, "trying again")
	if limits := read(t, fmt.Sprintf("/proc/%d/limits", waiting.Pid)); !noCore.MatchString(limits) {
		t.Errorf("who holds secrets may leave a core dump:\n%s", limits)
	}
	time.Sleep(3 * time.Second) // as long as people take who unseal; nothing depends on it
	s.Unseal(t)
	expect(t, waiting.Wait(t), 0)
	s.holds(t, "out", "bob:"+s.password)
	s.nobodysTokens(t)
}

// What exceeds a rate limit is tried again.
func TestVaultRenderIsPatientWithARateLimit(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	s.Write(t, "sys/quotas/rate-limit/secret", map[string]any{"path": "secret/", "rate": 1, "interval": "3s"})
	spend := func() {
		await(t, "the limit", func() bool {
			_, err := s.Client.Do(t.Context(), http.MethodGet, "secret/data/app", nil)
			return err != nil && strings.Contains(err.Error(), "status 429")
		})
	}
	spend()
	refused := s.render(t, appTemplate, "out", append(s.login(), "--retries", "0")...)
	expect(t, refused, 75, "429")
	spend()
	r := s.render(t, appTemplate, "out", append(s.login(), "--retries", "100", "--backoff", "100ms")...)
	expect(t, r, 0, "trying again")
	s.holds(t, "out", "bob:"+s.password)
	s.nobodysTokens(t)
}

// A standby does what the active server does. One that has lost its active server is waited for.
func TestVaultRenderAgainstAStandby(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	active, standby := servers.StartVaultPair(t, authority)
	s := &vaultStore{Vault: active, dir: servers.Dir(t), authority: authority}
	s.Write(t, "sys/mounts/old", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	s.Write(t, "old/app", map[string]any{"user": "alice"})
	const template = `{{ with secret "old/app" }}{{ .Data.user }}{{ end }}`
	token := filepath.Join(s.authorityDir(), "token")
	write(t, token, active.Token)
	options := []string{"--ca-file", s.CA, "--token-file", token, "--address", standby.Address}
	expect(t, s.render(t, template, "out", options...), 0)
	s.holds(t, "out", "alice")

	active.Stop(t)
	alone := s.render(t, template, "alone", append(options, "--retries", "1", "--timeout", "20s")...)
	if alone.Exit != 75 && alone.Exit != 69 {
		t.Errorf("got exit code %d from a standby without an active server, want 69 or 75\n%s", alone.Exit, alone.Stderr)
	}
	waiting := slipway.Command{
		Args: append([]string{"vault-render", "--retries", "1000", "--backoff", "100ms", "--timeout", "60s", s.source(t, template), s.path("again")}, options...),
	}.Start(t)
	waiting.AwaitStderr(t, "trying again")
	active.Rejoin(t)
	expect(t, waiting.Wait(t), 0)
	s.holds(t, "again", "alice")
}

// A token whose time ends between the login and the read does not end the run: slipway logs in once more.
func TestVaultRenderOutlivesItsToken(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	s.role(t, "brief", map[string]any{"token_ttl": "1s", "token_max_ttl": "1s"})
	roleID, secretID := s.approle(t, "brief")
	var first sync.Once
	proxy := vaultProxy(t, s, func(r *http.Request) {
		if r.URL.Path != "/v1/secret/data/app" {
			return
		}
		first.Do(func() {
			own := vault.Client{Address: s.Address, HTTP: s.HTTP, Token: r.Header.Get("X-Vault-Token")}
			await(t, "the end of the token", func() bool {
				_, err := own.Do(t.Context(), http.MethodGet, "auth/token/lookup-self", nil)
				return err != nil
			})
		})
	})
	r := s.render(t, appTemplate, "out", last(append(s.loginAs(roleID, secretID), "--address", proxy))...)
	expect(t, r, 0)
	s.holds(t, "out", "bob:"+s.password)
	await(t, "the end of all tokens", func() bool { return len(s.Accessors(t)) == 0 })
}

// vaultProxy starts a server that passes every request on to the store, after it was shown.
func vaultProxy(t *testing.T, s *vaultStore, show func(*http.Request)) (address string) {
	t.Helper()
	target, err := url.Parse(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Transport: s.HTTP.Transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		show(r)
		forward.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{s.authority.Issue(t, "proxy").Load(t)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// All templates of a step appear, or none: a fault of the last leaves the others as they were.
func TestVaultRenderIsAtomicAsASet(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	const count = 20
	set := func(text, lastText, lastDest string) []string {
		args := append([]string{"vault-render"}, s.login()...)
		for i := range count {
			source, dest := s.source(t, text), s.path(string(rune('a'+i)))
			if i == count-1 {
				source, dest = s.source(t, lastText), lastDest
			}
			args = append(args, "--template", source+"="+dest)
		}
		return args
	}
	final := s.path(string(rune('a' + count - 1)))
	const missing = `{{ with secret "secret/data/app" }}{{ .Data.data.missing }}{{ end }}`
	expect(t, slipway.Run(t, set(appTemplate, missing, final)...), 65, "missing")
	if got := names(t, s.dir); len(got) > 0 {
		t.Errorf("after a fault in the last template there is %q, want nothing", got)
	}
	expect(t, slipway.Run(t, set(appTemplate, appTemplate, final)...), 0)
	before := snapshot(t, s.dir)

	other := "other " + appTemplate
	expect(t, slipway.Run(t, set(other, missing, final)...), 65)
	if got := snapshot(t, s.dir); got != before {
		t.Errorf("a fault in the last template: got\n%s\nwant all as it was:\n%s", got, before)
	}
	folder := s.path("folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	before = snapshot(t, s.dir)
	expect(t, slipway.Run(t, set(other, other, folder)...), 73, folder)
	if got := snapshot(t, s.dir); got != before {
		t.Errorf("a folder in the way of the last: got\n%s\nwant all as it was:\n%s", got, before)
	}
	s.nobodysTokens(t)
}

// A secret for a disk is refused on request, and told anyway; one for memory is neither.
func TestVaultRenderKnowsMemoryFromDisk(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	memory, disk := inMemory(t), onDisk(t)
	source := s.source(t, appTemplate)
	run := func(dest string, more ...string) slipway.Result {
		return slipway.Run(t, slices.Concat([]string{"vault-render", source, dest}, s.login(), more)...)
	}
	refused := run(filepath.Join(disk, "refused"), "--require-tmpfs")
	expect(t, refused, 78, disk, "tmpfs")
	if got := names(t, disk); len(got) > 0 {
		t.Errorf("there is %q on the disk", got)
	}
	warned := run(filepath.Join(disk, "warned"))
	expect(t, warned, 0, `"level":"WARN"`, "disk")
	silent := run(filepath.Join(memory, "out"), "--require-tmpfs")
	expect(t, silent, 0)
	if strings.Contains(silent.Stderr, `"level":"WARN"`) {
		t.Errorf("a warning about a file in memory:\n%s", silent.Stderr)
	}
	if got, want := read(t, filepath.Join(memory, "out")), "bob:"+s.password; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// onDisk returns a folder that is not in memory. Where /tmp is, the module's own file system is not.
func onDisk(t *testing.T) string {
	t.Helper()
	const tmpfs = 0x01021994
	for _, parent := range []string{"", "."} {
		dir, err := os.MkdirTemp(parent, "e2e-disk")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		if fs.Type != tmpfs {
			if dir, err = filepath.Abs(dir); err != nil {
				t.Fatal(err)
			}
			return dir
		}
	}
	t.Fatal("neither the temporary folder nor the module is on a disk")
	return ""
}
