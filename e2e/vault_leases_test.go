package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// The templates of a database login and of a certificate, as people write them.
const (
	loginTemplate = `{{ with secret "database/creds/app" }}{{ .Data.username }} {{ .Data.password }}{{ end }}`
	nameTemplate  = `{{ with secret "database/creds/app" }}{{ .Data.username }}{{ end }}`
	issueTemplate = `{{ with secret "pki/issue/web" "common_name=web.example.test" "ttl=24h" }}{{ .Data.private_key }}
{{ .Data.certificate }}
{{ .Data.issuing_ca }}
{{ end }}`
	certTemplate = `{{ with pkiCert "pki/issue/web" "common_name=cert.example.test" "ttl=24h" }}{{ .Key }}{{ .Cert }}{{ .CA }}{{ end }}`
)

// startDynamicStore starts a store that gives logins to a real PostgreSQL, and certificates. What slipway makes of them
// lies in memory, as the volume of a pod's secrets does.
func startDynamicStore(t *testing.T) (*vaultStore, *servers.Postgres) {
	t.Helper()
	s := startVaultStore(t)
	postgres := servers.StartPostgres(t, servers.PostgresOptions{})
	s.database(t, postgres, "1h")
	s.certificates(t)
	s.dir = inMemory(t)
	return s, postgres
}

// inMemory returns a folder that is not on a disk.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// set returns a run of the named templates, by what they make, with a receipt.
func (s *vaultStore) set(t *testing.T, templates map[string]string, options ...string) slipway.Command {
	t.Helper()
	if len(options) == 0 {
		options = s.login()
	}
	args := append([]string{"vault-render", "--receipt", s.path("receipt")}, options...)
	for name, text := range templates {
		args = append(args, "--template", s.source(t, text)+"="+s.path(name))
	}
	return slipway.Command{Args: args}
}

// heldByNobody returns the accessors of tokens and the leases that the server knows and the receipt does not.
func (s *vaultStore) heldByNobody(t *testing.T) (accessors, leases []string) {
	t.Helper()
	receipt, err := os.ReadFile(s.path("receipt"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	held := func(name string) bool { return bytes.Contains(receipt, []byte(name)) }
	return slices.DeleteFunc(s.Accessors(t), held), slices.DeleteFunc(s.Leases(t, "database/creds/app/"), held)
}

// A database login that is rendered logs in, and a certificate that is rendered is one.
func TestVaultRenderTakesLoginsAndCertificatesThatWork(t *testing.T) {
	t.Parallel()
	s, postgres := startDynamicStore(t)
	r := s.set(t, map[string]string{"login": loginTemplate, "issued": issueTemplate, "cert": certTemplate}).Run(t)
	expect(t, r, 0)
	name, password, _ := strings.Cut(read(t, s.path("login")), " ")
	hides(t, r, password)
	expect(t, slipway.Command{
		Args: []string{"wait-for", "--fail-fast", "--username", name, "--password-from", "env:PASSWORD", "postgres://" + postgres.Addr + "/postgres"},
		Env:  []string{"PASSWORD=" + password},
	}.Run(t), 0)
	for file, name := range map[string]string{"issued": "web.example.test", "cert": "cert.example.test"} {
		content := []byte(read(t, s.path(file)))
		pair, err := tls.X509KeyPair(content, content)
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, content)
			continue
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(content) // the leaf is among them, and no authority
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if accessors, leases := s.heldByNobody(t); len(accessors)+len(leases) > 0 {
		t.Errorf("nobody holds the tokens %q and the leases %q", accessors, leases)
	}
}

// The second run takes no login and no certificate, counted on the server, and leaves the files as they are. A login
// that is about to end is replaced.
func TestVaultRenderTakesNothingTwice(t *testing.T) {
	t.Parallel()
	s, _ := startDynamicStore(t)
	command := s.set(t, map[string]string{"login": loginTemplate, "name": nameTemplate, "issued": issueTemplate, "cert": certTemplate})
	expect(t, command.Run(t), 0)
	made := snapshot(t, s.dir)
	counts := func() [2]int { return [2]int{s.Granted(t, "database/creds/app"), s.Granted(t, "pki/issue/web")} }
	if got, want := counts(), [2]int{1, 2}; got != want {
		t.Errorf("the first run: got %v logins and certificates, want %v", got, want)
	}
	if name, _, _ := strings.Cut(read(t, s.path("login")), " "); name != read(t, s.path("name")) {
		t.Error("two templates of one run have different logins")
	}
	for range 2 {
		expect(t, command.Run(t), 0)
		if got, want := counts(), [2]int{1, 2}; got != want {
			t.Errorf("another run: got %v logins and certificates, want %v as before", got, want)
		}
		if got := targets(snapshot(t, s.dir)); got != targets(made) {
			t.Errorf("another run: got\n%s\nwant all as it was:\n%s", got, made)
		}
		if accessors, leases := s.heldByNobody(t); len(accessors)+len(leases) > 0 {
			t.Errorf("nobody holds the tokens %q and the leases %q", accessors, leases)
		}
	}
	name := read(t, s.path("name"))
	s.Write(t, "sys/leases/revoke-prefix/database/creds/app", nil)
	expect(t, command.Run(t), 0)
	if read(t, s.path("name")) == name {
		t.Error("a login that the server has revoked is still the one that is rendered")
	}
	if accessors, leases := s.heldByNobody(t); len(accessors)+len(leases) > 0 {
		t.Errorf("after a revoked login: nobody holds the tokens %q and the leases %q", accessors, leases)
	}
}

// targets leaves the receipt out of a snapshot: that it was used may stand in it.
func targets(snapshot string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(snapshot, "\n"), func(line string) bool {
		return strings.HasPrefix(line, "receipt ")
	}), "\n")
}

// A login of which less than a third of its time is left is not handed on: the next run takes another one, and the
// server forgets the first.
func TestVaultRenderReplacesALoginThatEndsSoon(t *testing.T) {
	t.Parallel()
	s, _ := startDynamicStore(t)
	command := s.set(t, map[string]string{"name": strings.ReplaceAll(nameTemplate, "creds/app", "creds/brief")})
	expect(t, command.Run(t), 0)
	name := read(t, s.path("name"))
	lease := s.Leases(t, "database/creds/brief/")[0]
	await(t, "a lease of six seconds with under one left", func() bool {
		answer, err := s.Client.Do(t.Context(), http.MethodPut, "sys/leases/lookup", map[string]any{"lease_id": lease})
		left, _ := answer.Data["ttl"].(float64)
		return err != nil || left < 1
	})
	expect(t, command.Run(t), 0)
	if read(t, s.path("name")) == name {
		t.Error("the login that ends is still the one that is rendered")
	}
	await(t, "the end of the first lease", func() bool { return !slices.Contains(s.Leases(t, "database/creds/brief/"), lease) })
}

// A run that fails after it took a login and a certificate gives the login back, and leaves no token.
func TestVaultRenderGivesBackWhatItCannotUse(t *testing.T) {
	t.Parallel()
	s, _ := startDynamicStore(t)
	r := s.set(t, map[string]string{
		"login": loginTemplate, "wrong": `{{ with secret "secret/data/app" }}{{ .Data.data.missing }}{{ end }}`,
	}).Run(t)
	expect(t, r, 65, "missing")
	await(t, "the end of the lease", func() bool { return len(s.Leases(t, "database/creds/app/")) == 0 })
	s.nobodysTokens(t)
	if got := slices.DeleteFunc(names(t, s.dir), func(name string) bool { return name == "receipt" }); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
}

const (
	// vaultKills is how often a run is killed.
	vaultKills = 50
	// briefly is the life that a login gives to a token.
	briefly = 5 * time.Second
)

// After a SIGKILL at any moment every target is whole or absent, and after the next run there is no lease on the server
// that the receipt does not hold. A token whose login was killed before its answer was kept cannot be revoked by anybody:
// it has no lease, and ends by itself with the role's token_ttl. That may be a few seconds, although the leases of an hour
// hang on such tokens: a run that takes a lease renews its token for it.
func TestVaultRenderKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	s, _ := startDynamicStore(t)
	s.role(t, "brief", map[string]any{"token_ttl": briefly.String(), "token_max_ttl": "2h"})
	roleID, secretID := s.approle(t, "brief")
	templates := map[string]string{"login": loginTemplate, "name": nameTemplate, "cert": certTemplate}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		templates[name] = appTemplate
	}
	command := s.set(t, templates, s.loginAs(roleID, secretID)...)
	longest := command.Run(t)
	expect(t, longest, 0)
	complete := names(t, s.dir)

	died, lost := 0, 0
	for i := range vaultKills {
		// A login that the server no longer knows makes the run take another one.
		s.Write(t, "sys/leases/revoke-prefix/database/creds/app", nil)
		if i%2 == 0 {
			for _, name := range []string{"cert", "a", "login"} {
				if err := os.Remove(s.path(name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		run := command.Start(t)
		moment := rand.N(longest.Elapsed)
		time.Sleep(moment)
		if err := run.Kill(); err != nil && err != os.ErrProcessDone {
			t.Fatal(err)
		}
		if run.Wait(t).Exit == 128+int(syscall.SIGKILL) {
			died++
		}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			whole(t, s.path(name), "bob:"+s.password)
		}
		if content, err := os.ReadFile(s.path("cert")); err == nil {
			if _, err := tls.X509KeyPair(content, content); err != nil {
				t.Errorf("the certificate is not whole: %v", err)
			}
		}
		if again := command.Run(t); again.Exit != 0 {
			t.Fatalf("the run after SIGKILL at %s: exit code %d\n%s", moment, again.Exit, again.Stderr)
		}
		if got := names(t, s.dir); !slices.Equal(got, complete) {
			t.Fatalf("after SIGKILL at %s and another run: got %q, want %q", moment, got, complete)
		}
		if name, _, _ := strings.Cut(read(t, s.path("login")), " "); name != read(t, s.path("name")) {
			t.Fatalf("after SIGKILL at %s and another run two templates have different logins", moment)
		}
		accessors, leases := s.heldByNobody(t)
		if len(leases) > 0 {
			t.Fatalf("after SIGKILL at %s and another run nobody holds the leases %q", moment, leases)
		}
		lost = max(lost, len(accessors))
	}
	t.Logf("%d of %d runs died; at most %d logins at a time had lost their answer; a whole run takes %s",
		died, vaultKills, lost, longest.Elapsed.Round(time.Millisecond))
	if died < vaultKills/4 {
		t.Errorf("only %d of %d runs were killed in time", died, vaultKills)
	}
	began := time.Now()
	await(t, "the end of the tokens whose login was killed", func() bool {
		accessors, _ := s.heldByNobody(t)
		return len(accessors) == 0
	})
	t.Logf("they had ended %s after the last run", time.Since(began).Round(time.Millisecond))
}

// A token that would end before its lease is renewed: a second run goes on with both when the life that the login gave is
// over.
func TestVaultRenderRenewsATokenForItsLease(t *testing.T) {
	t.Parallel()
	s, _ := startDynamicStore(t)
	s.role(t, "brief", map[string]any{"token_ttl": "2s", "token_max_ttl": "2h"})
	roleID, secretID := s.approle(t, "brief")
	command := s.set(t, map[string]string{"name": nameTemplate}, s.loginAs(roleID, secretID)...)
	expect(t, command.Run(t), 0)
	name := read(t, s.path("name"))
	accessor := s.Accessors(t)[0]
	await(t, "the end of the life that the login gave", func() bool {
		answer := s.Write(t, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		created, _ := answer.Data["creation_time"].(float64)
		return time.Since(time.Unix(int64(created), 0)) > 4*time.Second
	})
	expect(t, command.Run(t), 0)
	if got := read(t, s.path("name")); got != name {
		t.Errorf("the second run took the login %s, want the first one's, %s", got, name)
	}
	if got := s.Granted(t, "auth/approle/login"); got != 1 {
		t.Errorf("two runs logged in %d times, want once", got)
	}
	if accessors, leases := s.heldByNobody(t); len(accessors)+len(leases) > 0 {
		t.Errorf("nobody holds the tokens %q and the leases %q", accessors, leases)
	}
}

// Where people want no template, the pairs of a secret become one file, or one for each pair.
func TestVaultRenderWithoutATemplate(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	for format, want := range map[string]string{
		"env":  "password=" + s.password + "\nuser=bob\n",
		"json": "{\n  \"password\": \"" + s.password + "\",\n  \"user\": \"bob\"\n}\n",
		"yaml": "password: " + s.password + "\nuser: bob\n",
	} {
		for _, path := range []string{"secret/app", "secret/data/app"} {
			dest := format + "-" + filepath.Base(filepath.Dir(path))
			r := slipway.Run(t, append([]string{"vault-render", "--secret", path, "--format", format, "--dest", s.path(dest)}, s.login()...)...)
			expect(t, r, 0)
			s.holds(t, dest, want)
		}
	}
	if err := os.Mkdir(s.path("files"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := slipway.Run(t, append([]string{"vault-render", "--secret", "old/app", "--format", "files", "--dest", s.path("files")}, s.login()...)...)
	expect(t, r, 0)
	s.holds(t, "files/user", "alice")
	s.holds(t, "files/password", s.password)
	s.nobodysTokens(t)
}
