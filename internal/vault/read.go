package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipway-init/slipway/internal/fault"
)

// maxNeighbours bounds how many names of neighbours an error tells.
const maxNeighbours = 12

// Read returns the secret at path. It is asked for once a session, however many ask; params, such as version=2, are part of
// what is asked, and may stand in path after a "?" instead. For KV version 2 both secret/app and secret/data/app work,
// and the pairs stand in .Data.data. A dynamic secret whose lease stands in the receipt is not taken again.
//
// Errors: NoInput where there is nothing at path, with the names of its neighbours; Permission with the line of policy
// that would help as its hint; Data for a path that the server does not support; Temporary and Unavailable.
func (s *Session) Read(ctx context.Context, path string, params url.Values) (*Secret, error) {
	name, params, err := split(path, params)
	if err != nil {
		return nil, err
	}
	key := keyOf(read, name, params.Encode())
	a, err := s.flights.do(ctx, key, func() (answer, error) {
		if kept := s.known(key); kept != nil {
			return answer{secret: kept}, nil
		}
		secret, err := s.read(ctx, key, name, params)
		return answer{secret: secret}, err
	})
	return a.secret, err
}

// split returns path without slashes around it, and without a query, which is added to params.
func split(path string, params url.Values) (string, url.Values, error) {
	name, query, _ := strings.Cut(path, "?")
	more, err := url.ParseQuery(query)
	if err != nil {
		return "", nil, fault.New(fault.Data, "the path %q has a query that cannot be read", name)
	}
	name = strings.Trim(name, "/")
	if name == "" {
		return "", nil, fault.New(fault.Data, "the path of a secret is empty")
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", nil, fault.New(fault.Data, `the path %q has ".." in it`, name)
	}
	all := maps.Clone(params)
	if all == nil {
		all = url.Values{}
	}
	maps.Copy(all, more)
	return name, all, nil
}

// keyOf returns what is asked for as one text.
func keyOf(o operation, name, rest string) string {
	if rest == "" {
		return string(o) + " " + name
	}
	return string(o) + " " + name + " " + rest
}

func (s *Session) read(ctx context.Context, key, name string, params url.Values) (*Secret, error) {
	m, err := s.mountOf(ctx, name)
	if err != nil {
		return nil, err
	}
	full := m.below("data", name)
	if !m.kv {
		if err := s.intend(ctx); err != nil {
			return nil, err
		}
	}
	asked := s.now()
	got, err := s.request(ctx, read, full, m, func(ctx context.Context) (*api.Secret, error) {
		return s.client.Logical().ReadWithDataWithContext(ctx, full, params)
	})
	if err != nil {
		return nil, err
	}
	if got != nil && !m.known() && unversioned(got.Warnings) {
		// Only the path tells where the mount begins: the first folder nearly always.
		first, rest, _ := strings.Cut(full, "/")
		full = first + "/data/" + rest
		m = mount{path: first + "/", kv: true, version: 2}
		got, err = s.request(ctx, read, full, m, func(ctx context.Context) (*api.Secret, error) {
			return s.client.Logical().ReadWithDataWithContext(ctx, full, params)
		})
		if err != nil {
			return nil, err
		}
	}
	if why := absent(got, m, params.Get("version")); why != "" {
		return nil, s.missing(ctx, m, full, why)
	}
	secret := secretOf(got)
	return secret, s.record(ctx, entry{Key: key, Path: full, Taken: asked.Round(0), Secret: secret})
}

// request asks the server within a span, whose attributes are the path and the mount and nothing of the answer.
func (s *Session) request(ctx context.Context, o operation, full string, m mount, send func(context.Context) (*api.Secret, error)) (*api.Secret, error) {
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer("github.com/slipway-init/slipway/internal/vault")
	ctx, span := tracer.Start(ctx, "vault."+string(o), trace.WithAttributes(attribute.String("vault.path", full)))
	defer span.End()
	if m.known() {
		span.SetAttributes(attribute.String("vault.mount", m.path))
	}
	got, err := send(ctx)
	if err == nil {
		return got, nil
	}
	err = s.refused(o, full, err)
	span.SetAttributes(attribute.String("error.type", fault.KindOf(err).String()))
	span.SetStatus(codes.Error, err.Error())
	return nil, err
}

// unversioned reports whether the server says that the path is one of KV version 1 in a mount of version 2.
func unversioned(warnings []string) bool {
	return slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "versioned K/V") })
}

// absent says why an answer holds no secret, or "".
func absent(got *api.Secret, m mount, version string) string {
	if got == nil || len(got.Data) == 0 && got.WrapInfo == nil && got.Auth == nil {
		return "there is nothing"
	}
	metadata, versioned := got.Data["metadata"].(map[string]any)
	if m.known() && m.version != 2 || !versioned || got.Data["data"] != nil {
		return ""
	}
	which := "the latest version"
	if version != "" && version != "0" {
		which = "version " + version
	}
	if destroyed, _ := metadata["destroyed"].(bool); destroyed {
		return which + " is destroyed"
	}
	if deleted, _ := metadata["deletion_time"].(string); deleted != "" {
		return which + " was deleted at " + deleted
	}
	return ""
}

// missing returns the error for a path that holds nothing, with the names beside it where they may be listed.
func (s *Session) missing(ctx context.Context, m mount, full, why string) error {
	err := fault.New(fault.NoInput, "read %s: %s", full, why)
	if !m.known() {
		return fault.Hint(err, "no engine is mounted there, as far as this token may know: is the path right, and the namespace?")
	}
	if !m.kv {
		return err
	}
	folder := path.Dir(strings.TrimPrefix(strings.TrimPrefix(full, m.path), "data/"))
	names, listed := s.List(ctx, path.Join(m.path, folder))
	if listed != nil || len(names) == 0 {
		return err
	}
	more := ""
	if len(names) > maxNeighbours {
		more = fmt.Sprintf(" and %d more", len(names)-maxNeighbours)
		names = names[:maxNeighbours]
	}
	return fault.New(fault.NoInput, "%w; beside it: %s%s", err, strings.Join(names, ", "), more)
}

// Write sends data to path, such as pki/issue/web or transit/decrypt/key, and returns the answer; its fields are empty
// if the server had nothing to say. The same data is sent to the same path once a session. A certificate or a dynamic secret that the
// receipt holds, and that is good still, is returned instead of a new one. Errors are those of Read.
func (s *Session) Write(ctx context.Context, path string, data map[string]any) (*Secret, error) {
	name, _, err := split(path, nil)
	if err != nil {
		return nil, err
	}
	sent, err := json.Marshal(data)
	if err != nil {
		return nil, fault.New(fault.Data, "write %s: %w", name, err)
	}
	// What is sent may be a secret: its digest stands in the receipt.
	key := keyOf(write, name, fmt.Sprintf("%x", sha256.Sum256(sent)))
	a, err := s.flights.do(ctx, key, func() (answer, error) {
		if kept := s.known(key); kept != nil {
			return answer{secret: kept}, nil
		}
		secret, err := s.write(ctx, key, name, data)
		return answer{secret: secret}, err
	})
	return a.secret, err
}

func (s *Session) write(ctx context.Context, key, name string, data map[string]any) (*Secret, error) {
	m, err := s.mountOf(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.intend(ctx); err != nil {
		return nil, err
	}
	full := m.below("data", name)
	if m.version == 2 {
		data = versioned(data)
	}
	asked := s.now()
	got, err := s.request(ctx, write, full, m, func(ctx context.Context) (*api.Secret, error) {
		return s.client.Logical().WriteWithContext(ctx, full, data)
	})
	if err != nil {
		return nil, err
	}
	if got == nil {
		return &Secret{}, nil
	}
	secret := secretOf(got)
	return secret, s.record(ctx, entry{Key: key, Path: full, Taken: asked.Round(0), Secret: secret, Names: namesOf(data)})
}

// versioned returns data as KV version 2 takes it.
func versioned(data map[string]any) map[string]any {
	if _, ok := data["data"].(map[string]any); ok {
		return data
	}
	return map[string]any{"data": data}
}

// List returns the names below path, in the server's order; those of folders end in a slash. It is asked for once a
// session. For KV version 2 both secret/apps and secret/metadata/apps work. Errors are those of Read.
func (s *Session) List(ctx context.Context, path string) ([]string, error) {
	name, _, err := split(path, nil)
	if err != nil {
		return nil, err
	}
	a, err := s.flights.do(ctx, keyOf(list, name, ""), func() (answer, error) {
		names, err := s.list(ctx, name)
		return answer{names: names}, err
	})
	return slices.Clone(a.names), err
}

func (s *Session) list(ctx context.Context, name string) ([]string, error) {
	m, err := s.mountOf(ctx, name)
	if err != nil {
		return nil, err
	}
	full := m.below("metadata", name)
	got, err := s.request(ctx, list, full, m, func(ctx context.Context) (*api.Secret, error) {
		return s.client.Logical().ListWithContext(ctx, full)
	})
	if err != nil {
		return nil, err
	}
	if got == nil {
		return nil, fault.New(fault.NoInput, "list %s: there is nothing", full)
	}
	keys, ok := got.Data["keys"].([]any)
	if !ok {
		return nil, fault.New(fault.NoInput, "list %s: there is nothing", full)
	}
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		names = append(names, fmt.Sprint(key))
	}
	return names, nil
}

// KV returns the pairs of a secret as they are wanted without a template: those in .Data.data of KV version 2, .Data
// of any other secret. Errors are those of Read.
func (s *Session) KV(ctx context.Context, path string) (map[string]any, error) {
	secret, err := s.Read(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	pairs, isMap := secret.Data["data"].(map[string]any)
	if _, versioned := secret.Data["metadata"].(map[string]any); isMap && versioned {
		return pairs, nil
	}
	return secret.Data, nil
}

// secretOf returns an answer of the API's client as templates see it.
func secretOf(got *api.Secret) *Secret {
	secret := &Secret{
		RequestID: got.RequestID, LeaseID: got.LeaseID, LeaseDuration: got.LeaseDuration, Renewable: got.Renewable,
		Data: got.Data, Warnings: got.Warnings,
	}
	if auth := got.Auth; auth != nil {
		secret.Auth = &Auth{
			ClientToken: auth.ClientToken, Accessor: auth.Accessor, Policies: auth.Policies, Metadata: auth.Metadata,
			LeaseDuration: auth.LeaseDuration, Renewable: auth.Renewable,
		}
	}
	if wrap := got.WrapInfo; wrap != nil {
		secret.WrapInfo = &WrapInfo{
			Token: wrap.Token, Accessor: wrap.Accessor, TTL: wrap.TTL, CreationTime: wrap.CreationTime.Format("2006-01-02T15:04:05.999999999Z07:00"),
			CreationPath: wrap.CreationPath, WrappedAccessor: wrap.WrappedAccessor,
		}
	}
	return secret
}

// answer is what a flight brings back.
type answer struct {
	secret *Secret
	names  []string
}

// flights lets every question be asked once: whoever asks while it is under way, or later, gets the same answer.
type flights struct {
	mu sync.Mutex
	by map[string]*flight
}

type flight struct {
	landed chan struct{}
	answer answer
	err    error
}

func (f *flights) do(ctx context.Context, key string, ask func() (answer, error)) (answer, error) {
	f.mu.Lock()
	if f.by == nil {
		f.by = make(map[string]*flight)
	}
	under, found := f.by[key]
	if !found {
		under = &flight{landed: make(chan struct{}), err: fault.New(fault.Internal, "a request to Vault panicked")}
		f.by[key] = under
	}
	f.mu.Unlock()
	if !found {
		defer close(under.landed)
		under.answer, under.err = ask()
		return under.answer, under.err
	}
	select {
	case <-under.landed:
		return under.answer, under.err
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// decode reads JSON as the API's client does: numbers keep their digits.
func decode(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	return decoder.Decode(into)
}
