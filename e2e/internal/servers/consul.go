package servers

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// consulRoot is the token that may do everything.
const consulRoot = "9f6a2f0e-4c8e-4f0a-8f53-0b7f6d1c2a3b"

// ConsulToken may read the keys below app/ and no others.
const ConsulToken = "5d1c7e2a-6b3f-4a1d-9e8c-7f2b4d6a8c0e"

// Consul is a server of Consul that wants a token.
type Consul struct {
	*Server
	URL string
}

// StartConsul starts a server with nothing in it.
func StartConsul(t testing.TB) *Consul {
	t.Helper()
	dir, port := Dir(t), FreePort(t)
	writeFile(t, dir+"/acl.hcl", lines(
		`acl { enabled = true, default_policy = "deny", tokens { initial_management = "`+consulRoot+`" } }`,
		`ports { http = `+port+`, server = `+FreePort(t)+`, serf_lan = `+FreePort(t)+`, serf_wan = -1, dns = -1, grpc = -1, grpc_tls = -1 }`,
		`connect { enabled = false }`,
	), 0o644)
	c := &Consul{URL: "http://127.0.0.1:" + port}
	c.Server = start(t, spec{dir: dir, args: []string{
		tools.Built(t, "consul"), "-server", "-bootstrap-expect=1", "-bind=127.0.0.1", "-client=127.0.0.1", "-node=e2e",
		"-disable-host-node-id", "-data-dir=" + dir + "/data", "-config-file=" + dir + "/acl.hcl",
	}})
	c.await(t, "a leader of itself", func() bool { return c.put("/v1/kv/ready", "") == nil })
	policy := `{"Name":"app","Rules":"key_prefix \"app/\" { policy = \"read\" }"}`
	token := `{"SecretID":"` + ConsulToken + `","Policies":[{"Name":"app"}]}`
	for _, set := range [][2]string{{"/v1/acl/policy", policy}, {"/v1/acl/token", token}} {
		if err := c.put(set[0], set[1]); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Put writes a key.
func (c *Consul) Put(t testing.TB, key, value string) {
	t.Helper()
	if err := c.put("/v1/kv/"+key, value); err != nil {
		t.Fatal(err)
	}
}

func (c *Consul) put(path, body string) error {
	request, err := http.NewRequest(http.MethodPut, c.URL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("X-Consul-Token", consulRoot)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, response.Status, text)
	}
	return err
}
