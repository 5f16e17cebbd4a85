package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/tools"
	"github.com/slipway-init/slipway/e2e/internal/vault"
)

// secrets is how many secrets the templates share.
const secrets = 20

// vault measures a login and the templates of a pod beside Vault Agent with exit_after_auth: the same templates, the same
// approle and the same real server, over TLS. Beside both stands a client that does what cannot be left out and nothing
// else (see floor): how its time grows with the files is the machine's and the server's part of how slipway's does.
func (b *bench) vault() (outcome, error) {
	var out outcome
	floor := filepath.Join(b.dir, "floor")
	if err := b.build(filepath.Join(b.source, "e2e"), "./bench/floor", "-s -w", floor); err != nil {
		return out, err
	}
	v, err := b.startVault()
	if err != nil {
		return out, err
	}
	defer v.close()
	type sample struct {
		Templates int     `json:"templates"`
		Name      string  `json:"name"`
		Costs     []cost  `json:"costs"`
		Peaks     []int64 `json:"peaks"` // bytes
		Left      int     `json:"left"`  // tokens that a run leaves on the server
	}
	var samples []*sample
	runs := make(map[*sample]func() *exec.Cmd)
	for _, templates := range []int{1, 10, 100} {
		if err := v.write(templates); err != nil {
			return out, err
		}
		for _, c := range []struct {
			name string
			run  func(templates int) *exec.Cmd
		}{
			{"slipway vault-render", v.slipway},
			{"vault agent", v.agent},
			{"the least client", func(templates int) *exec.Cmd { return v.least(floor, templates) }},
		} {
			s := &sample{Templates: templates, Name: c.name}
			samples = append(samples, s)
			runs[s] = func() *exec.Cmd { return c.run(templates) }
		}
	}
	for _, s := range samples { // unmeasured, to see that all make the same
		before, err := v.tokens()
		if err != nil {
			return out, err
		}
		if _, err := measure(runs[s]()); err != nil {
			return out, err
		}
		if err := v.check(s.Templates); err != nil {
			return out, fmt.Errorf("%s: %w", s.Name, err)
		}
		after, err := v.tokens()
		if err != nil {
			return out, err
		}
		s.Left = after - before
	}
	for range b.rounds(31, 3) {
		for _, s := range samples {
			if err := v.empty(); err != nil {
				return out, err
			}
			one, err := measure(runs[s]())
			if err != nil {
				return out, err
			}
			s.Costs = append(s.Costs, one)
		}
	}
	for range b.rounds(7, 2) {
		for _, s := range samples {
			if err := v.empty(); err != nil {
				return out, err
			}
			one, err := b.peak(runs[s]())
			if errors.Is(err, errNoTime) {
				out.Notes = []string{"no peaks: " + err.Error()}
				continue
			}
			if err != nil {
				return out, err
			}
			s.Peaks = append(s.Peaks, one)
		}
	}

	out.Raw = samples
	out.Table = [][]string{{"median", "templates", "wall", "CPU", "peak RSS", "tokens left"}}
	const clients = 3
	for i := 0; i < len(samples); i += clients {
		own, agent := samples[i], samples[i+1]
		for _, s := range samples[i : i+clients] {
			row := []string{s.Name, fmt.Sprint(s.Templates), show(median(walls(s.Costs))), show(median(cpus(s.Costs))), "-", fmt.Sprint(s.Left)}
			if len(s.Peaks) > 0 {
				row[4] = megabytes(median(s.Peaks))
			}
			out.Table = append(out.Table, row)
		}
		what := fmt.Sprintf("templates %d: ", own.Templates)
		out.Goals = append(out.Goals,
			atMostTimes(what+"wall", median(walls(own.Costs)), "the agent's", median(walls(agent.Costs)), 1./2),
			atMostTimes(what+"CPU", median(cpus(own.Costs)), "the agent's", median(cpus(agent.Costs)), 1./3))
		if len(own.Peaks) > 0 {
			out.Goals = append(out.Goals, atMostTimes(what+"peak RSS", median(own.Peaks), "the agent's", median(agent.Peaks), 1./3))
		}
	}
	// The first and the last so many samples are those of one template and of a hundred.
	one, hundred := samples[:clients], samples[len(samples)-clients:]
	out.Goals = append(out.Goals, atMostTimes("wall of 100 templates", median(walls(hundred[0].Costs)), "that of one", median(walls(one[0].Costs)), 2))
	for i, s := range one {
		first, last := median(walls(s.Costs)), median(walls(hundred[i].Costs))
		out.Notes = append(out.Notes, fmt.Sprintf("%s: 100 templates take %.2f times as long as one, %s more", s.Name, float64(last)/float64(first), show(last-first)))
	}
	out.Notes = append(out.Notes,
		fmt.Sprintf("the server is a real one, on this machine; %d secrets at most, each template names one; the files lie in %s", secrets, v.memory))
	return out, nil
}

// atMostTimes returns the goal that a figure is at most so many times another one.
func atMostTimes[N ~int64](text string, got N, base string, of N, limit float64) goal {
	ratio := float64(got) / float64(of)
	return goal{Text: fmt.Sprintf("%s: at most %.2f of %s", text, limit, base), Got: fmt.Sprintf("%.2f", ratio), Met: ratio <= limit}
}

// vaultServer is a real server with secrets, and what its clients need.
type vaultServer struct {
	*bench
	vault.Client // of the root token
	binary       string
	ca           string // the file of the authority that signed the server's certificate
	roleID       string
	memory       string // where the files are rendered, as on the volume of a pod's secrets
	stop         func()
}

// startVault starts a server in development mode, which keeps everything in memory, with TLS.
func (b *bench) startVault() (*vaultServer, error) {
	binary, err := tools.Build("vault")
	if err != nil {
		return nil, err
	}
	free, err := ports(1)
	if err != nil {
		return nil, err
	}
	v := &vaultServer{bench: b, binary: binary, Client: vault.Client{Token: "root"}}
	home := filepath.Join(b.dir, "vault")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	if v.memory, err = os.MkdirTemp("/dev/shm", "bench"); err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", free[0])
	v.Address, v.ca = "https://"+address, filepath.Join(home, "vault-ca.pem")
	server := b.command(binary, "server", "-dev", "-dev-tls", "-dev-tls-cert-dir="+home, "-dev-listen-address="+address, "-dev-no-store-token")
	server.Env = append(server.Env, "HOME="+home, "VAULT_DEV_ROOT_TOKEN_ID="+v.Token)
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(v.memory))
	}
	v.stop = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	if err := v.prepare(); err != nil {
		v.close()
		return nil, fmt.Errorf("prepare %s server: %w\n%s", binary, err, bytes.TrimSpace(log.Bytes()))
	}
	return v, nil
}

// prepare waits for the server and writes the secrets, and a role that may read them.
func (v *vaultServer) prepare() error {
	ctx, cancel := context.WithTimeout(v.ctx, time.Minute)
	defer cancel()
	for {
		var err error
		if v.HTTP, err = vault.Trusting(v.ca); err == nil {
			if _, err = v.Do(ctx, http.MethodGet, "sys/health", nil); err == nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
	type write struct {
		path   string
		fields map[string]any
	}
	writes := []write{
		{"sys/policies/acl/bench", map[string]any{"policy": `path "secret/data/bench/*" { capabilities = ["read"] }`}},
		{"sys/auth/approle", map[string]any{"type": "approle"}},
		{"auth/approle/role/bench", map[string]any{"token_policies": "bench", "token_ttl": "1h"}},
	}
	for i := range secrets {
		writes = append(writes, write{fmt.Sprint("secret/data/bench/", i), map[string]any{"data": map[string]any{"user": "app", "password": fmt.Sprint("password ", i)}}})
	}
	for _, w := range writes {
		if _, err := v.Do(ctx, http.MethodPut, w.path, w.fields); err != nil {
			return err
		}
	}
	role, err := v.Do(ctx, http.MethodGet, "auth/approle/role/bench/role-id", nil)
	if err != nil {
		return err
	}
	secret, err := v.Do(ctx, http.MethodPut, "auth/approle/role/bench/secret-id", nil)
	if err != nil {
		return err
	}
	v.roleID = fmt.Sprint(role.Data["role_id"])
	return errors.Join(
		os.WriteFile(v.file("role-id"), []byte(v.roleID), 0o600),
		os.WriteFile(v.file("secret-id"), []byte(fmt.Sprint(secret.Data["secret_id"])), 0o600),
	)
}

// close ends the server.
func (v *vaultServer) close() {
	v.stop()
	_ = os.RemoveAll(v.memory)
}

// file returns the path of a file that the server's clients read.
func (v *vaultServer) file(name string) string { return filepath.Join(v.dir, "vault", name) }

// source and dest are the paths of a template, and of what it makes.
func (v *vaultServer) source(i int) string { return v.file(fmt.Sprint(i, ".ctmpl")) }
func (v *vaultServer) dest(i int) string   { return filepath.Join(v.memory, fmt.Sprint(i)) }

// write writes the first so many templates, and the agent's configuration for them.
func (v *vaultServer) write(templates int) error {
	var blocks []map[string]any
	for i := range templates {
		text := fmt.Sprintf(`{{ with secret "secret/data/bench/%d" }}{{ .Data.data.user }}:{{ .Data.data.password }}{{ end }}`, i%secrets)
		if err := os.WriteFile(v.source(i), []byte(text), 0o600); err != nil {
			return err
		}
		blocks = append(blocks, map[string]any{"source": v.source(i), "destination": v.dest(i), "error_on_missing_key": true})
	}
	config, err := json.Marshal(map[string]any{
		"exit_after_auth": true,
		"vault":           map[string]any{"address": v.Address, "ca_cert": v.ca},
		// HCL takes an object in JSON for as many blocks as it has members; a list says how many there are.
		"auto_auth": map[string]any{"method": []any{map[string]any{"type": "approle", "config": []any{map[string]any{
			"role_id_file_path": v.file("role-id"), "secret_id_file_path": v.file("secret-id"), "remove_secret_id_file_after_reading": false,
		}}}}},
		"template_config": map[string]any{"exit_on_retry_failure": true},
		"template":        blocks,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(v.file(fmt.Sprint("agent-", templates, ".json")), config, 0o600)
}

func (v *vaultServer) slipway(templates int) *exec.Cmd {
	args := []string{
		"vault-render", "--address", v.Address, "--ca-file", v.ca, "--auth", "approle",
		"--role-id", v.roleID, "--secret-id-from", "file:" + v.file("secret-id"),
	}
	for i := range templates {
		args = append(args, "--template", v.source(i)+"="+v.dest(i))
	}
	return v.run(args...)
}

func (v *vaultServer) agent(templates int) *exec.Cmd {
	cmd := v.command(v.binary, "agent", "-config", v.file(fmt.Sprint("agent-", templates, ".json")))
	cmd.Env = append(cmd.Env, "HOME="+v.file(""))
	return cmd
}

// least is a run of the client that does nothing but what cannot be left out.
func (v *vaultServer) least(binary string, templates int) *exec.Cmd {
	return v.command(binary, v.Address, v.ca, v.roleID, v.file("secret-id"), v.memory, fmt.Sprint(templates), fmt.Sprint(secrets))
}

// empty removes what was rendered, so that the next run has all to do.
func (v *vaultServer) empty() error {
	if err := os.RemoveAll(v.memory); err != nil {
		return err
	}
	return os.Mkdir(v.memory, 0o700)
}

// check says whether the first so many templates were rendered, and removes what they made.
func (v *vaultServer) check(templates int) error {
	for i := range templates {
		got, err := os.ReadFile(v.dest(i))
		if err != nil {
			return err
		}
		if want := fmt.Sprint("app:password ", i%secrets); string(got) != want {
			return fmt.Errorf("%s holds %q, want %q", v.dest(i), got, want)
		}
	}
	return v.empty()
}

// tokens returns how many tokens the server knows.
func (v *vaultServer) tokens() (int, error) {
	answer, err := v.Do(v.ctx, "LIST", "auth/token/accessors", nil)
	keys, _ := answer.Data["keys"].([]any)
	return len(keys), err
}
