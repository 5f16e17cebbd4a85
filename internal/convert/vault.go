package convert

import (
	"path"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/manifest/document"
)

// vaultPrefix begins the annotations of Vault's injector:
// https://developer.hashicorp.com/vault/docs/deploy/kubernetes/injector/annotations
const vaultPrefix = "vault.hashicorp.com/"

// vaultOptions are annotations that are options of vault-render as they stand.
var vaultOptions = map[string]string{
	"service": "address", "role": "role", "namespace": "namespace", "ca-cert": "ca-file", "client-cert": "cert-file", "client-key": "key-file", "tls-server-name": "server-name",
}

// vault converts the annotations of Vault's injector: a step for each file.
func (c *converter) vault(annotations *document.Node) {
	inject := annotations.Get(vaultPrefix + "agent-inject")
	if inject == nil || slices.Contains([]string{"false", "no", "0", "f"}, strings.ToLower(inject.Text())) {
		return
	}
	var common []string
	type file struct {
		name, path, template string
		node                 *document.Node
	}
	var files []*file
	of := func(name string, n *document.Node) *file {
		for _, f := range files {
			if f.name == name {
				return f
			}
		}
		files = append(files, &file{name: name, node: n})
		return files[len(files)-1]
	}
	get := func(key string) string { return annotations.Get(vaultPrefix + key).Text() }
	for key, n := range annotations.Entries() {
		key, ok := strings.CutPrefix(key, vaultPrefix)
		if !ok {
			continue
		}
		text := n.Text()
		switch {
		case vaultOptions[key] != "":
			common = append(common, "--"+vaultOptions[key]+"="+text)
		case key == "auth-path":
			common = append(common, "--auth-path="+strings.TrimPrefix(strings.Trim(text, "/"), "auth/"))
		case key == "auth-type":
			common = append(common, "--auth="+text)
		case key == "tls-skip-verify" && text == "true":
			common = append(common, "--insecure-skip-tls-verify")
		case strings.HasPrefix(key, "agent-inject-secret-"):
			of(strings.TrimPrefix(key, "agent-inject-secret-"), n).path = text
		case strings.HasPrefix(key, "agent-inject-template-") && !strings.HasPrefix(key, "agent-inject-template-file-"):
			of(strings.TrimPrefix(key, "agent-inject-template-"), n).template = text
		case slices.Contains([]string{"agent-inject", "agent-init-first", "secret-volume-path", "agent-pre-populate-only", "agent-inject-status"}, key),
			strings.HasPrefix(key, "agent-inject-file-"), strings.HasPrefix(key, "agent-inject-perms-"), strings.HasPrefix(key, "secret-volume-path-"):
		default:
			c.note(n.Pos(), "annotation %s%s: nothing is made of it", vaultPrefix, key)
		}
	}
	if get("agent-pre-populate-only") != "true" {
		c.note(inject.Pos(), "the injector's sidecar renews leases and renders anew; slipway renders once, before the application starts")
	}
	if get("service") == "" {
		c.note(inject.Pos(), "the server's address is the injector's own: give --address, or VAULT_ADDR")
	}
	if get("auth-type") == "" {
		common = append(common, "--auth=kubernetes")
	}
	for _, f := range files {
		if f.path == "" && f.template == "" {
			continue
		}
		folder := "/vault/secrets"
		for _, key := range []string{"secret-volume-path", "secret-volume-path-" + f.name} {
			if text := get(key); text != "" {
				folder = text
			}
		}
		name := f.name
		if text := get("agent-inject-file-" + f.name); text != "" {
			name = text
		}
		template := f.template
		if template == "" {
			if strings.ContainsAny(f.path, "\"\\\n") {
				c.note(f.node.Pos(), "the secret %q cannot stand in a template", shorten(f.path))
				continue
			}
			// What the injector writes where no template is given.
			template = `{{ with secret "` + f.path + `" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}` + "\n" + `{{ end }}{{ end }}`
		}
		words := append([]string{"vault-render", "--template=" + template, "--inline", "--dest=" + path.Join(folder, name)}, common...)
		if mode := get("agent-inject-perms-" + f.name); mode != "" {
			words = append(words, "--mode="+mode)
		}
		if c.step(f.node.Pos(), words...) && get("agent-inject-perms-"+f.name) == "" {
			c.note(f.node.Pos(), "%s: the agent's mode is 0644, and slipway's 0400: run the application as the same user, or give --mode", path.Join(folder, name))
		}
	}
}
