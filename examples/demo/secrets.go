package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// secrets renders a secret of a real Vault. It is told with -full alone: the server takes minutes to build.
var secrets = scene{
	title:   "A secret from a real Vault: log in, render, leave nothing behind",
	servers: []server{{"vault", vaultServer}},
	args: func(s *stage) ([]string, error) {
		s.say("\n%s", s.bold("db.properties.ctmpl"))
		s.quote(dbProperties)
		return []string{
			"mkdir", "secrets", "--mode", "0700", "then",
			"vault-render", "db.properties.ctmpl", "secrets/db.properties",
			"--address", s.targets["vault"], "--ca-file", "vault/vault-ca.pem",
			"--auth", "approle", "--role-id-from", "file:vault/role-id", "--secret-id-from", "file:vault/secret-id",
		}, os.WriteFile(s.path("db.properties.ctmpl"), []byte(dbProperties), 0o644)
	},
	show: func(s *stage, r result) error {
		if err := s.drawFiles("secrets"); err != nil {
			return err
		}
		rendered, err := os.ReadFile(s.path("secrets/db.properties"))
		if err != nil {
			return err
		}
		if !strings.Contains(string(rendered), "password="+vaultPassword) {
			return errors.New("the file does not hold the password")
		}
		s.say("\n%s", s.bold("secrets/db.properties, with the password blotted out here"))
		s.quote(strings.ReplaceAll(string(rendered), vaultPassword, "••••••••"))
		s.say("\n%s", s.bold("The termination message"))
		s.quote(r.report)
		accessors, err := s.vault(context.Background(), "", "list", "-format=json", "auth/token/accessors")
		if err != nil {
			return err
		}
		if n := strings.Count(accessors, `"`) / 2; n != 1 {
			return fmt.Errorf("the server knows %d tokens, not the root token alone", n)
		}
		s.say("\nThe server knows no token but its root's: slipway's was revoked.")
		return s.drawTrace(r.spans)
	},
}

const dbProperties = `{{ with secret "secret/data/shop/db" -}}
user={{ .Data.data.user }}
password={{ .Data.data.password }}
{{ end -}}
`

// The secret that the server holds, and who may read it.
const (
	vaultPassword = "staple battery horse correct"
	vaultPolicy   = `path "secret/data/shop/*" { capabilities = ["read"] }`
)

// vaultServer starts a real Vault in its development mode, which keeps everything in memory, over TLS with an authority
// of its own, and writes a secret and a role that may read it.
func vaultServer(ctx context.Context, s *stage) (target, about string, err error) {
	s.say("%-14s building it, unless that was done before: about five minutes", "vault")
	began := time.Now()
	binary, err := s.tool(ctx, "vault")
	if err != nil {
		return "", "", err
	}
	s.say("%-14s there after %s", "", round(time.Since(began)))
	if err := os.Symlink(binary, s.path("vault-binary")); err != nil {
		return "", "", err
	}
	address, err := freeAddress()
	if err != nil {
		return "", "", err
	}
	if err := os.Mkdir(s.path("vault"), 0o700); err != nil {
		return "", "", err
	}
	s.targets["vault"] = "https://" + address
	err = s.process(ctx, process{
		args: []string{
			binary, "server", "-dev", "-dev-tls", "-dev-tls-cert-dir=" + s.path("vault"), "-dev-root-token-id=root",
			"-dev-listen-address=" + address, "-dev-no-store-token",
		},
		stop: syscall.SIGTERM,
	})
	if err != nil {
		return "", "", err
	}
	if err := s.awaitPort(ctx, address); err != nil {
		return "", "", err
	}
	for _, c := range []struct {
		file  string // gets the output; empty is none
		stdin string
		args  []string
	}{
		{stdin: vaultPolicy, args: []string{"policy", "write", "shop", "-"}},
		{args: []string{"auth", "enable", "approle"}},
		{args: []string{"write", "auth/approle/role/shop", "token_policies=shop"}},
		{stdin: `{"user":"shop","password":"` + vaultPassword + `"}`, args: []string{"kv", "put", "secret/shop/db", "-"}},
		{file: "vault/role-id", args: []string{"read", "-field=role_id", "auth/approle/role/shop/role-id"}},
		{file: "vault/secret-id", args: []string{"write", "-f", "-field=secret_id", "auth/approle/role/shop/secret-id"}},
	} {
		output, err := s.vault(ctx, c.stdin, c.args...)
		if err != nil {
			return "", "", err
		}
		if c.file == "" {
			continue
		}
		if err := os.WriteFile(s.path(c.file), []byte(output), 0o600); err != nil {
			return "", "", err
		}
	}
	return s.targets["vault"], "a real Vault, with one secret and an approle that may read it", nil
}

// vault runs Vault's command line against the server, with the root token, and returns its output.
func (s *stage) vault(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.path("vault-binary"), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"HOME=" + s.dir, "VAULT_ADDR=" + s.targets["vault"], "VAULT_CACERT=" + s.path("vault/vault-ca.pem"), "VAULT_TOKEN=root",
	}
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("vault %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(output), nil
}

// awaitPort waits until something accepts connections.
func (s *stage) awaitPort(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not listened on: %w", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// buildTool builds a program of e2e/tools, which has a cache, and returns its path.
func buildTool(ctx context.Context, name string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/slipway-init/slipway").Output()
	if err != nil {
		return "", fmt.Errorf("find slipway's module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "-C", filepath.Join(strings.TrimSpace(string(root)), "e2e"), "run", "./tools", name)
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return strings.TrimSpace(string(path)), nil
}
