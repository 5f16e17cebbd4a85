package vault

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
)

// mount is a secrets engine and where it is.
type mount struct {
	path    string // ends in a slash; "" where it could not be told
	kv      bool
	version int // of KV: 1 or 2
}

// known reports whether the server has told the mount.
func (m mount) known() bool { return m.path != "" }

// below returns name as KV version 2 has it: with folder, which is data or metadata, between the mount and the rest,
// unless one of them stands there. Names of other engines are as they are.
func (m mount) below(folder, name string) string {
	if m.version != 2 {
		return name
	}
	root := strings.TrimSuffix(m.path, "/")
	if name == root {
		return path.Join(root, folder)
	}
	rest := strings.TrimPrefix(name, m.path)
	first, tail, _ := strings.Cut(rest, "/")
	switch {
	case first == "data" && folder == "metadata":
		return path.Join(root, "metadata", tail) // a list has no other meaning there
	case first == "data" || first == "metadata":
		return name
	}
	return path.Join(root, folder, rest)
}

// mounts remembers which engine is where.
type mounts struct {
	mu     sync.Mutex
	found  []mount
	closed map[string]bool // the first folders of paths whose mount may not be told
}

// mountOf returns the engine that name belongs to. Every token that may do something below a mount may ask for it, by the
// request that Vault's own CLI makes: https://developer.hashicorp.com/vault/api-docs/system/internal-ui-mounts. Where it
// is refused all the same, or not known, the name is taken as it is.
func (s *Session) mountOf(ctx context.Context, name string) (mount, error) {
	s.mounts.mu.Lock()
	defer s.mounts.mu.Unlock()
	for _, m := range s.mounts.found {
		if strings.HasPrefix(name+"/", m.path) {
			return m, nil
		}
	}
	first, _, _ := strings.Cut(name, "/")
	if first == "sys" || first == "auth" || first == "cubbyhole" || first == "identity" || s.mounts.closed[first] {
		return mount{}, nil
	}
	got, err := s.client.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+name)
	if code := status(err); code >= 400 && code < 500 && code != 412 && code != 429 {
		if s.mounts.closed == nil {
			s.mounts.closed = make(map[string]bool)
		}
		s.mounts.closed[first] = true
		return mount{}, nil
	}
	if err != nil {
		return mount{}, fmt.Errorf("ask which engine %s belongs to: %w", name, explain(err))
	}
	if got == nil {
		return mount{}, nil
	}
	m := mountFrom(got.Data, name)
	if m.known() {
		s.mounts.found = append(s.mounts.found, m)
	}
	return m, nil
}

// mountFrom reads what the server says of the mount of name. The path that it tells begins at the namespace that the
// name may begin with.
func mountFrom(data map[string]any, name string) mount {
	where, _ := data["path"].(string)
	at := strings.Index(name+"/", where)
	if where == "" || at < 0 || at > 0 && name[at-1] != '/' {
		return mount{}
	}
	m := mount{path: name[:at] + where}
	engine, _ := data["type"].(string)
	if engine != "kv" && engine != "generic" {
		return m
	}
	m.kv, m.version = true, 1
	if options, ok := data["options"].(map[string]any); ok && options["version"] == "2" {
		m.version = 2
	}
	return m
}
