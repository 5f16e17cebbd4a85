// Package etcd reads etcd v3 over its JSON gateway, which every etcd since 3.4 has below /v3 on the client port:
// https://etcd.io/docs/latest/dev-guide/api_grpc_gateway/. The client of its makers brings balancers, leases and watches that
// one read does not need; docs/stores.md has what it would weigh.
package etcd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
)

// Name is the store's name in errors.
const Name = "etcd"

// Store is one etcd cluster.
type Store struct {
	client    *http.Client
	endpoints []string // URLs without a slash at their end
	user      string   // empty is no login
	password  string

	login sync.Mutex // held while the token is asked for
	token string
}

// Open returns the cluster that the variables of etcdctl name: ETCDCTL_ENDPOINTS (127.0.0.1:2379 when it is not set;
// several with commas, the first that is there is asked), ETCDCTL_USER (NAME:PASSWORD, or NAME with ETCDCTL_PASSWORD),
// ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY and ETCDCTL_INSECURE_SKIP_TLS_VERIFY. It reads files but asks nobody.
func Open(env *step.Env) (*Store, error) {
	options := httpx.TLS{CAFile: env.Getenv("ETCDCTL_CACERT"), CertFile: env.Getenv("ETCDCTL_CERT"), KeyFile: env.Getenv("ETCDCTL_KEY")}
	if text := env.Getenv("ETCDCTL_INSECURE_SKIP_TLS_VERIFY"); text != "" {
		var err error
		if options.Insecure, err = strconv.ParseBool(text); err != nil {
			return nil, fault.New(fault.Data, "ETCDCTL_INSECURE_SKIP_TLS_VERIFY is neither true nor false")
		}
	}
	scheme := "http://"
	if options != (httpx.TLS{}) {
		scheme = "https://"
	}
	client, err := options.Client(env)
	if err != nil {
		return nil, err
	}
	s := &Store{client: client}
	for endpoint := range strings.SplitSeq(cmp.Or(env.Getenv("ETCDCTL_ENDPOINTS"), "127.0.0.1:2379"), ",") {
		endpoint = strings.TrimSuffix(strings.TrimSpace(endpoint), "/")
		if !strings.Contains(endpoint, "://") {
			endpoint = scheme + endpoint
		}
		_, host, _ := strings.Cut(endpoint, "://")
		if host == "" || strings.ContainsAny(host, "@?#/ ") || !strings.HasPrefix(endpoint, "http") {
			return nil, fault.Hint(fault.New(fault.Data, "ETCDCTL_ENDPOINTS has what is no endpoint"),
				"write host:port, http://host:port or https://host:port; a password belongs in ETCDCTL_PASSWORD")
		}
		s.endpoints = append(s.endpoints, endpoint)
	}
	s.user, s.password = env.Getenv("ETCDCTL_USER"), env.Getenv("ETCDCTL_PASSWORD")
	if user, password, ok := strings.Cut(s.user, ":"); ok {
		s.user, s.password = user, password
	}
	return s, nil
}

// rangeRequest is what /v3/kv/range takes. Keys are base64 in JSON, as Go's []byte is.
type rangeRequest struct {
	Key      []byte `json:"key"`
	RangeEnd []byte `json:"range_end,omitempty"`
	Limit    int64  `json:"limit,omitempty"`
	KeysOnly bool   `json:"keys_only,omitempty"`
}

// rangeResponse is what it answers.
type rangeResponse struct {
	Pairs []struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	} `json:"kvs"`
}

// Get returns the value of a key. See store.Getter.
func (s *Store) Get(ctx context.Context, key string) (string, error) {
	if key == "" {
		return "", fault.New(fault.Data, "the key is empty")
	}
	found, err := s.find(ctx, key, rangeRequest{Key: []byte(key)})
	if err != nil {
		return "", err
	}
	if len(found.Pairs) == 0 {
		return "", store.Missing(Name, "key", key, s.neighbours(ctx, key))
	}
	return string(found.Pairs[0].Value), nil
}

// List returns the values of all keys that begin with a folder's name and a slash. See store.Lister.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Pair, error) {
	folder := store.Folder(prefix)
	found, err := s.find(ctx, prefix, below(folder))
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(found.Pairs))
	for _, pair := range found.Pairs {
		values[string(pair.Key)] = string(pair.Value)
	}
	return store.Pairs(folder, values), nil
}

// neighbours returns names in the key's folder; none when they may not be listed.
func (s *Store) neighbours(ctx context.Context, key string) []string {
	request := below(store.Parent(key))
	request.KeysOnly, request.Limit = true, 100
	found, err := s.find(ctx, key, request)
	if err != nil {
		return nil
	}
	var names []string
	for _, pair := range found.Pairs {
		names = append(names, string(pair.Key))
	}
	return names
}

// below returns the request for all keys with a prefix: those from it to the next text of its length. Without one it is
// all keys, which etcd says as from zero to zero.
func below(prefix string) rangeRequest {
	if prefix == "" {
		return rangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}
	}
	end := []byte(prefix)
	end[len(end)-1]++ // it is a slash
	return rangeRequest{Key: []byte(prefix), RangeEnd: end}
}

// find logs in where that is needed, and asks.
func (s *Store) find(ctx context.Context, key string, request rangeRequest) (*rangeResponse, error) {
	token, err := s.authenticated(ctx)
	if err != nil {
		return nil, err
	}
	var found rangeResponse
	if err := s.post(ctx, "/v3/kv/range", token, request, &found); err != nil {
		if fault.KindOf(err) == fault.Permission && fault.HintOf(err) == "" {
			err = fault.Hint(err, "a role of the user in ETCDCTL_USER needs: etcdctl role grant-permission ROLE read %s", key)
		}
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return &found, nil
}

// authenticated returns a token of the user, or "" where there is none. It is asked for once.
func (s *Store) authenticated(ctx context.Context) (string, error) {
	if s.user == "" {
		return "", nil
	}
	s.login.Lock()
	defer s.login.Unlock()
	if s.token != "" {
		return s.token, nil
	}
	var answer struct {
		Token string `json:"token"`
	}
	login := map[string]string{"name": s.user, "password": s.password}
	err := s.post(ctx, "/v3/auth/authenticate", "", login, &answer)
	if err != nil && strings.Contains(err.Error(), "authentication is not enabled") {
		return "", nil // a login too many is none too few, as etcdctl has it
	}
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", s.user, err)
	}
	s.token = answer.Token
	return s.token, nil
}

// post sends one request to the first endpoint that can be reached.
func (s *Store) post(ctx context.Context, path, token string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fault.As(fault.Internal, err)
	}
	var last error
	for _, endpoint := range s.endpoints {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+path, bytes.NewReader(body))
		if err != nil {
			return fault.New(fault.Data, "ETCDCTL_ENDPOINTS has what is no endpoint")
		}
		request.Header.Set("Content-Type", "application/json")
		if token != "" {
			request.Header.Set("Authorization", token)
		}
		status, text, err := httpx.Do(s.client, request, store.MaxBytes)
		if err == nil && status != http.StatusOK {
			err = refused(status, text)
		}
		if err == nil {
			if json.Unmarshal(text, answer) != nil {
				return fault.New(fault.Data, "%s answered with what is not its JSON", Name)
			}
			return nil
		}
		last = err
		if !fault.KindOf(err).Transient() || ctx.Err() != nil {
			break
		}
	}
	return last
}

// refused returns the error of an answer that is no success. Its code is gRPC's, and tells more than HTTP's: a wrong
// password, and a request without a login where one is needed, are 400 with InvalidArgument.
func refused(status int, body []byte) error {
	var answer struct {
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // what is not JSON says nothing
	message := cmp.Or(answer.Message, answer.Error)
	kind := httpx.StatusKind(status)
	login := false
	for _, sign := range []string{"authentication failed", "user name is empty", "invalid auth token"} {
		login = login || strings.Contains(message, sign)
	}
	switch {
	case strings.Contains(message, "permission denied"), login:
		kind = fault.Permission
	case status == http.StatusNotFound:
		kind = fault.Data // there is no gateway: a missing key is no error
	}
	err := fault.New(kind, "%s answered %d%s", Name, status, httpx.Says([]byte(message)))
	if login {
		return fault.Hint(err, "set ETCDCTL_USER and ETCDCTL_PASSWORD; a client certificate's name is no login over etcd's gateway")
	}
	return err
}
