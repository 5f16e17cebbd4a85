package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// token is how Vault writes a token.
var token = regexp.MustCompile(`hv[sb]\.[A-Za-z0-9_-]{20,}`)

// No secret is anywhere but in the targets and the receipt: not in logs, spans, report or dry-run, not in the command
// line or environment of slipway or of a child, and in no other file.
func TestVaultRenderKeepsSecrets(t *testing.T) {
	t.Parallel()
	s, _ := startDynamicStore(t)
	collector := servers.StartCollector(t)
	spool, other := filepath.Join(s.dir, "spool"), filepath.Join(s.dir, "other")
	for _, dir := range []string{spool, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	render := s.set(t, map[string]string{
		"app": appTemplate, "login": loginTemplate, "cert": certTemplate,
		"json": `{{ with secret "secret/data/app" }}{{ .Data.data | toJSON }}{{ end }}`,
	}).Args
	// The child tells all that it, its parent and every other process would show to who looks.
	const tell = `cat /proc/[0-9]*/cmdline /proc/$$/environ /proc/$PPID/environ > "$0/processes" 2>/dev/null; env > "$0/environment"`
	chain := slices.Concat([]string{"--log-level", "debug", "--telemetry-spool", spool, "--traceparent-file", filepath.Join(other, "context")},
		render, []string{"then", "exec", "--", "sh", "-c", tell, other})
	dry := slipway.Command{Args: append([]string{"--dry-run"}, chain...)}.Run(t)
	expect(t, dry, 0)
	run := slipway.Command{Args: chain, Env: endpoint("http/protobuf", collector.HTTP)}.Run(t)
	expect(t, run, 0)
	failing := slipway.Command{
		Args: append([]string{"--log-level", "debug"}, s.set(t, map[string]string{
			"unmade": `{{ with secret "secret/data/app" }}{{ .Data.data.password | parseJSON }}{{ end }}`,
		}).Args...),
		Env: endpoint("http/protobuf", collector.HTTP),
	}.Run(t)
	expect(t, failing, 65)

	_, password, _ := strings.Cut(read(t, s.path("login")), " ")
	key := strings.Split(read(t, s.path("cert")), "\n")[1]
	secrets := []string{s.password, password, key, strings.TrimSpace(read(t, s.secretID))}
	places := map[string]string{"spans": strings.Join(collector.Received(t), "\n")}
	for name, r := range map[string]slipway.Result{"dry-run": dry, "run": run, "failing run": failing} {
		places["log of the "+name], places["output of the "+name], places["report of the "+name] = r.Stderr, r.Stdout, r.Report
	}
	made := []string{"app", "login", "cert", "json", "receipt"}
	for _, name := range names(t, s.dir) {
		path := filepath.Join(s.dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !slices.Contains(made, name) {
			places[name] = read(t, path)
		}
	}
	if len(places["other/processes"]) == 0 || len(places["other/environment"]) == 0 || !strings.Contains(places["spans"], "vault-render") {
		t.Fatalf("there is nothing to search in: %q", places)
	}
	for place, text := range places {
		for i, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s: secret %d of password, login, key and secret id is there:\n%s", place, i, text)
			}
		}
		if token.MatchString(text) {
			t.Errorf("%s: there is a token:\n%s", place, text)
		}
	}
	mode(t, s.path("receipt"), 0o600)
}
