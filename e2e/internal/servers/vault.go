package servers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/tools"
	"github.com/slipway-init/slipway/e2e/internal/vault"
)

// Vault is a Vault server over TLS, initialized and unsealed, with an audit log. Its client has the root token.
type Vault struct {
	*Server
	vault.Client
	CA string // the file of the authority that signed its certificate

	port  string
	audit string   // the audit log
	key   string   // unseals it
	env   []string // of the process, beside the authority that it trusts
}

// StartVault starts a server that keeps everything in memory, with a certificate that the authority issues, and
// further variables in its environment.
func StartVault(t testing.TB, authority *pki.Authority, env ...string) *Vault {
	t.Helper()
	v := prepareVault(t, authority, "inmem", "")
	v.env = env
	v.Run(t)
	v.initialize(t)
	return v
}

// StartVaultPair starts two servers that share their storage by Raft: the first is active, the second stands by.
func StartVaultPair(t testing.TB, authority *pki.Authority) (active, standby *Vault) {
	t.Helper()
	active = prepareVault(t, authority, "raft", "")
	active.Run(t)
	active.initialize(t)
	standby = prepareVault(t, authority, "raft", active.Address)
	standby.Run(t)
	standby.key, standby.Token = active.key, active.Token
	standby.await(t, "a member of the pair", func() bool {
		_, err := standby.Client.Do(t.Context(), http.MethodPut, "sys/unseal", map[string]any{"key": standby.key})
		return err == nil && standby.status(t) == http.StatusTooManyRequests // sys/health's word for a standby
	})
	return active, standby
}

// prepareVault writes the configuration of a server. A server with Raft joins the one at leader, if that is not empty.
func prepareVault(t testing.TB, authority *pki.Authority, storage, leader string) *Vault {
	t.Helper()
	dir, port, cluster := Dir(t), FreePort(t), FreePort(t)
	v := &Vault{
		Server: &Server{Dir: dir}, CA: authority.File, port: port, audit: filepath.Join(dir, "audit.log"),
		Client: vault.Client{Address: "https://127.0.0.1:" + port},
	}
	var err error
	if v.HTTP, err = vault.Trusting(authority.File); err != nil {
		t.Fatal(err)
	}
	certificate := authority.Issue(t, "vault-"+port)
	keep := map[string]any{}
	if storage == "raft" {
		keep["path"], keep["node_id"] = filepath.Join(dir, "raft"), port
		keep["performance_multiplier"] = "1" // elections within a second
		if err := os.Mkdir(filepath.Join(dir, "raft"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if leader != "" {
		keep["retry_join"] = map[string]any{"leader_api_addr": leader, "leader_ca_cert_file": authority.File}
	}
	config, err := json.Marshal(map[string]any{
		"disable_mlock": true,
		"api_addr":      v.Address,
		"cluster_addr":  "https://127.0.0.1:" + cluster,
		"storage":       map[string]any{storage: keep},
		"listener": map[string]any{"tcp": map[string]any{
			"address": "127.0.0.1:" + port, "cluster_address": "127.0.0.1:" + cluster,
			"tls_cert_file": certificate.Certificate, "tls_key_file": certificate.Key,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "config.json"), config, 0o600)
	return v
}

// Run starts the server, sealed; one that kept its storage in memory has forgotten everything.
func (v *Vault) Run(t testing.TB) {
	t.Helper()
	v.Server = start(t, spec{dir: v.Dir, args: []string{
		tools.Built(t, "vault"), "server", "-config", filepath.Join(v.Dir, "config.json"),
	}, env: append(v.env, "SSL_CERT_FILE="+v.CA)}) // a cloud that it asks is one of the test's
	v.awaitPort(t, v.port)
}

// initialize gives the server its key and root token, and unseals it.
func (v *Vault) initialize(t testing.TB) {
	t.Helper()
	answer := v.Do(t, http.MethodPut, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	v.key, v.Token = answer.Keys[0], answer.Root
	v.Unseal(t)
	v.Write(t, "sys/audit/file", map[string]any{"type": "file", "options": map[string]any{"file_path": v.audit}})
}

// Seal seals the server: it answers 503 until Unseal.
func (v *Vault) Seal(t testing.TB) {
	t.Helper()
	v.Write(t, "sys/seal", nil)
	v.await(t, "sealed", func() bool { return v.status(t) == http.StatusServiceUnavailable })
}

// Unseal unseals the server and waits until it is active.
func (v *Vault) Unseal(t testing.TB) {
	t.Helper()
	v.Write(t, "sys/unseal", map[string]any{"key": v.key})
	v.await(t, "active", func() bool { return v.status(t) == http.StatusOK })
}

// Rejoin runs a server of a pair that was stopped. Which of the two is the active one then, they decide.
func (v *Vault) Rejoin(t testing.TB) {
	t.Helper()
	v.Run(t)
	v.Write(t, "sys/unseal", map[string]any{"key": v.key})
}

// status returns the status with which the server answers to sys/health; 0 when it does not answer.
func (v *Vault) status(t testing.TB) int {
	t.Helper()
	_, err := v.Client.Do(t.Context(), http.MethodGet, "sys/health", nil)
	if refusal, ok := errors.AsType[*vault.Refusal](err); ok {
		return refusal.Status
	}
	if err != nil {
		return 0
	}
	return http.StatusOK
}

// Do makes one request. The test fails when it is refused.
func (v *Vault) Do(t testing.TB, method, path string, body any) vault.Answer {
	t.Helper()
	answer, err := v.Client.Do(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Write writes to a path; fields may be nil.
func (v *Vault) Write(t testing.TB, path string, fields map[string]any) vault.Answer {
	t.Helper()
	return v.Do(t, http.MethodPut, path, fields)
}

// Read returns a field of what is at a path, as text.
func (v *Vault) Read(t testing.TB, path, field string) string {
	t.Helper()
	return fmt.Sprint(v.Do(t, http.MethodGet, path, nil).Data[field])
}

// List returns the names below a path, none if there is no such path.
func (v *Vault) List(t testing.TB, path string) []string {
	t.Helper()
	answer, err := v.Client.Do(t.Context(), "LIST", path, nil)
	if refusal, ok := errors.AsType[*vault.Refusal](err); ok && refusal.Status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := answer.Data["keys"].([]any)
	var names []string
	for _, key := range keys {
		names = append(names, key.(string))
	}
	return names
}

// Leases returns the leases that the server holds below a path, such as "database/creds/app/", by their whole names.
func (v *Vault) Leases(t testing.TB, below string) []string {
	t.Helper()
	var leases []string
	for _, name := range v.List(t, "sys/leases/lookup/"+below) {
		leases = append(leases, below+name)
	}
	return leases
}

// Accessors returns the accessors of all tokens that the server knows, but for the root token's.
func (v *Vault) Accessors(t testing.TB) []string {
	t.Helper()
	root := v.Read(t, "auth/token/lookup-self", "accessor")
	var others []string
	for _, accessor := range v.List(t, "auth/token/accessors") {
		if accessor != root {
			others = append(others, accessor)
		}
	}
	return others
}

// Granted returns how often the server has granted a request to a path, by its audit log.
func (v *Vault) Granted(t testing.TB, path string) int {
	t.Helper()
	granted := 0
	for line := range bytes.Lines([]byte(v.Audit(t))) {
		var entry struct {
			Type    string
			Error   string
			Request struct{ Path string }
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("the audit log: %v in %.200s", err, line)
		}
		if entry.Type == "response" && entry.Error == "" && entry.Request.Path == path {
			granted++
		}
	}
	return granted
}

// Audit returns the audit log: a line of JSON for each request and one for each response.
func (v *Vault) Audit(t testing.TB) string {
	t.Helper()
	content, err := os.ReadFile(v.audit)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// ConnectVault lets the database engine of a Vault make users on the PostgreSQL server for the named roles, which the
// caller writes to database/roles/.
func (p *Postgres) ConnectVault(t testing.TB, v *Vault, roles ...string) {
	t.Helper()
	p.awaitLog(t, "ready to accept connections") // Vault looks once
	v.Write(t, "sys/mounts/database", map[string]any{"type": "database"})
	v.Write(t, "database/config/postgres", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": roles,
		"connection_url": "postgresql://{{username}}:{{password}}@" + p.Addr + "/postgres?sslmode=disable",
		"username":       User, "password": Password,
	})
}
