package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Templates written for Vault Agent, in the style of its documentation, give the same bytes as the agent itself, run with
// exit_after_auth against the same server.
func TestVaultRenderIsByteForByteTheAgent(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	postgres := servers.StartPostgres(t, servers.PostgresOptions{})
	s.database(t, postgres, "1h")
	s.certificates(t)
	s.documents(t)
	sources, err := filepath.Glob("testdata/vault/*.ctmpl")
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 25 {
		t.Fatalf("got %d templates, want 25 at least", len(sources))
	}
	included := filepath.Join(s.authorityDir(), "included")
	write(t, included, "first line\nsecond line")
	environment := func(out string) []string {
		return []string{"POD_NAME=web-0", "TEAM=red", "INCLUDED=" + included, "OUT=" + out}
	}

	wanted := filepath.Join(s.authorityDir(), "agent")
	runAgent(t, s, sources, wanted, environment(wanted))
	args := append([]string{"vault-render", "--files-below", s.dir}, s.login()...)
	for _, source := range sources {
		args = append(args, "--template", source+"="+s.path(rendered(source)))
	}
	r := slipway.Command{Args: args, Env: environment(s.dir)}.Run(t)
	expect(t, r, 0)
	for _, name := range names(t, wanted) {
		if info, err := os.Stat(filepath.Join(wanted, name)); err == nil && info.IsDir() {
			continue
		}
		got, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Error(err)
			continue
		}
		if want := read(t, filepath.Join(wanted, name)); string(got) != want {
			t.Errorf("%s: got\n%s\nwant what the agent makes:\n%s", name, got, want)
		}
	}
}

// rendered returns the name of what a template makes.
func rendered(source string) string { return strings.TrimSuffix(filepath.Base(source), ".ctmpl") }

// runAgent renders templates with Vault Agent into the folder out.
func runAgent(t *testing.T, s *vaultStore, sources []string, out string, env []string) {
	t.Helper()
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	roleID := filepath.Join(s.authorityDir(), "role-id")
	write(t, roleID, s.roleID)
	var templates []map[string]any
	for _, source := range sources {
		absolute, err := filepath.Abs(source)
		if err != nil {
			t.Fatal(err)
		}
		templates = append(templates, map[string]any{
			"source": absolute, "destination": filepath.Join(out, rendered(source)), "error_on_missing_key": true,
		})
	}
	config, err := json.Marshal(map[string]any{
		"exit_after_auth": true,
		"vault":           map[string]any{"address": s.Address, "ca_cert": s.CA},
		// HCL takes an object in JSON for as many blocks as it has members; a list says how many there are.
		"auto_auth": map[string]any{"method": []any{map[string]any{"type": "approle", "config": []any{map[string]any{
			"role_id_file_path": roleID, "secret_id_file_path": s.secretID, "remove_secret_id_file_after_reading": false,
		}}}}},
		"template_config": map[string]any{"exit_on_retry_failure": true},
		"template":        templates,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.authorityDir(), "agent.json")
	write(t, file, string(config))
	agent := exec.CommandContext(t.Context(), tools.Built(t, "vault"), "agent", "-config", file)
	agent.Dir = s.authorityDir()
	agent.Env = slices.Concat([]string{"PATH=/usr/bin:/bin", "HOME=" + s.authorityDir()}, env)
	var log bytes.Buffer
	agent.Stdout, agent.Stderr = &log, &log
	if err := agent.Run(); err != nil {
		t.Fatalf("vault agent: %v\n%s", err, &log)
	}
}

// documents writes the secrets that the agent's templates name.
func (s *vaultStore) documents(t *testing.T) {
	t.Helper()
	const pem = "-----BEGIN EXAMPLE-----\nbm90IGEga2V5LCBidXQgbGlrZSBvbmU=\n-----END EXAMPLE-----\n"
	for path, pairs := range map[string]map[string]any{
		"db/config": {
			"username": "wizard", "password": s.password, "host": "db1.internal", "port": 5432, "ttl": 1.5, "enabled": true,
			"replicas": []string{"a", "b"}, "nested": map[string]any{"pool": map[string]any{"min": 1, "max": 10}},
			"note": "a <b> & \"c\"\nand naïve ☃", "odd-key": "odd",
		},
		"team/red":  {"members": "ann, bob , eve", "motto": "Go red team!"},
		"team/blue": {"members": "joe", "motto": "blue"},
		"documents": {
			"json": `{"a":1,"b":[true,null,2.5],"c":{"d":"e"},"large":12345678}`, "yaml": "x: 1\nentries:\n- a\n- b\nz:\n  deep: down\n",
			"pem": pem, "base64": "c2Vzc2FtZQ==", "base64url": "PDw_Pz8-Pg==",
		},
	} {
		s.Write(t, "secret/data/"+path, map[string]any{"data": pairs})
	}
	s.Write(t, "old/features", map[string]any{"alpha": "true", "beta": "false", "limit": "42", "ratio": "2.5"})
	s.Write(t, "old/tree", map[string]any{"a/b": "1", "a/c/d": "2", "e": "3"})
	s.Write(t, "sys/policies/acl/app", map[string]any{
		"policy": appPolicy + `path "secret/data/*" { capabilities = ["read"] }`,
	})
}

// database lets the approle take logins to a PostgreSQL server, from database/creds/app, for so long.
func (s *vaultStore) database(t *testing.T, postgres *servers.Postgres, ttl string) {
	t.Helper()
	postgres.ConnectVault(t, s.Vault, "app", "brief")
	for role, ttl := range map[string]string{"app": ttl, "brief": "6s"} {
		s.Write(t, "database/roles/"+role, map[string]any{
			"db_name": "postgres", "default_ttl": ttl, "max_ttl": "2h",
			"creation_statements": `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
		})
	}
}

// certificates lets the approle take certificates for names below example.test, from pki/issue/web.
func (s *vaultStore) certificates(t *testing.T) {
	t.Helper()
	s.Write(t, "sys/mounts/pki", map[string]any{"type": "pki"})
	s.Write(t, "pki/root/generate/internal", map[string]any{"common_name": "slipway e2e", "ttl": "87600h"})
	s.Write(t, "pki/roles/web", map[string]any{"allowed_domains": "example.test", "allow_subdomains": true, "max_ttl": "72h", "key_type": "ec", "key_bits": 256})
}
