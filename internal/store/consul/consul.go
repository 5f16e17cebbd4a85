// Package consul reads Consul's key-value store over its HTTP API, which for a read is one GET:
// https://developer.hashicorp.com/consul/api-docs/kv. The client of its makers does the same with more around it.
package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
)

// Name is the store's name in errors.
const Name = "Consul"

// Store is one Consul cluster, asked through one of its agents.
type Store struct {
	client *http.Client
	base   url.URL // of /v1/kv/
	query  url.Values
	header http.Header
}

// Open returns the store that the variables of Consul's own command name: CONSUL_HTTP_ADDR (127.0.0.1:8500 when it is not
// set; with http://, https:// or unix://, too), CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY, CONSUL_HTTP_TOKEN,
// CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_AUTH, CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY,
// CONSUL_TLS_SERVER_NAME, CONSUL_NAMESPACE and CONSUL_PARTITION. It reads files but asks nobody.
func Open(env *step.Env) (*Store, error) {
	secured := env.Getenv("CONSUL_HTTP_SSL")
	scheme := "http"
	if on, err := strconv.ParseBool(secured); secured != "" && err != nil {
		return nil, fault.New(fault.Data, "CONSUL_HTTP_SSL is neither true nor false")
	} else if on {
		scheme = "https"
	}
	verify := true
	if text := env.Getenv("CONSUL_HTTP_SSL_VERIFY"); text != "" {
		var err error
		if verify, err = strconv.ParseBool(text); err != nil {
			return nil, fault.New(fault.Data, "CONSUL_HTTP_SSL_VERIFY is neither true nor false")
		}
	}
	address := cmp.Or(env.Getenv("CONSUL_HTTP_ADDR"), "127.0.0.1:8500")
	if given, rest, ok := strings.Cut(address, "://"); ok {
		scheme, address = given, rest
	}
	client, err := httpx.TLS{
		CAFile: env.Getenv("CONSUL_CACERT"), CertFile: env.Getenv("CONSUL_CLIENT_CERT"), KeyFile: env.Getenv("CONSUL_CLIENT_KEY"),
		ServerName: env.Getenv("CONSUL_TLS_SERVER_NAME"), Insecure: !verify,
	}.Client(env)
	if err != nil {
		return nil, err
	}
	s := &Store{client: client, base: url.URL{Scheme: scheme}, query: url.Values{}, header: http.Header{}}
	switch scheme {
	case "unix":
		s.base.Scheme, s.base.Host = "http", "localhost"
		s.client = httpx.Derive(client, func(transport *http.Transport) {
			transport.Proxy = nil
			transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return env.Dial(ctx, "unix", env.Path(address))
			}
		})
	case "http", "https":
		host, path, _ := strings.Cut(address, "/")
		if host == "" || strings.ContainsAny(host, "@?# ") {
			return nil, fault.Hint(fault.New(fault.Data, "CONSUL_HTTP_ADDR is no address"), "write host:port; a password belongs in CONSUL_HTTP_AUTH")
		}
		s.base.Host, s.base.Path = host, strings.TrimSuffix("/"+path, "/")
	default:
		return nil, fault.New(fault.Data, "CONSUL_HTTP_ADDR has a scheme that is none of http, https and unix")
	}
	return s, s.authenticate(env)
}

// authenticate sets what every request carries.
func (s *Store) authenticate(env *step.Env) error {
	token := env.Getenv("CONSUL_HTTP_TOKEN")
	if path := env.Getenv("CONSUL_HTTP_TOKEN_FILE"); token == "" && path != "" {
		var err error
		if token, err = httpx.ReadToken(env, path); err != nil {
			return err
		}
	}
	if token != "" {
		s.header.Set("X-Consul-Token", token)
	}
	if login := env.Getenv("CONSUL_HTTP_AUTH"); login != "" {
		user, password, _ := strings.Cut(login, ":")
		request := http.Request{Header: s.header}
		request.SetBasicAuth(user, password)
	}
	for name, variable := range map[string]string{"ns": "CONSUL_NAMESPACE", "partition": "CONSUL_PARTITION"} {
		if value := env.Getenv(variable); value != "" {
			s.query.Set(name, value)
		}
	}
	return nil
}

// Get returns the value of a key, which may name its data centre: "app/port@dc2". See store.Getter.
func (s *Store) Get(ctx context.Context, key string) (string, error) {
	status, body, err := s.ask(ctx, key, "raw")
	if err != nil {
		return "", err
	}
	if status == http.StatusNotFound {
		return "", store.Missing(Name, "key", key, s.neighbours(ctx, key))
	}
	if status != http.StatusOK {
		return "", refused(key, "read", status, body)
	}
	return string(body), nil
}

// List returns the values of all keys below a folder, which may name its data centre. See store.Lister.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Pair, error) {
	path, dc, at := strings.Cut(prefix, "@")
	folder := store.Folder(path)
	asked := folder
	if at {
		asked += "@" + dc
	}
	status, body, err := s.ask(ctx, asked, "recurse")
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	if status == http.StatusNotFound {
		return store.Pairs(folder, values), nil
	}
	if status != http.StatusOK {
		return nil, refused(prefix, "list", status, body)
	}
	var entries []struct {
		Key   string
		Value []byte // null is an empty one
	}
	if err := json.Unmarshal(body, &entries); err != nil {
		return nil, fault.New(fault.Data, "%s: %s answered with what is not its JSON", prefix, Name)
	}
	for _, entry := range entries {
		values[entry.Key] = string(entry.Value)
	}
	return store.Pairs(folder, values), nil
}

// neighbours returns the names in the key's folder; none when they may not be listed.
func (s *Store) neighbours(ctx context.Context, key string) []string {
	path, dc, at := strings.Cut(key, "@")
	folder := store.Parent(path)
	if at {
		folder += "@" + dc
	}
	status, body, err := s.ask(ctx, folder, "keys", "separator=/")
	var names []string
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &names) != nil {
		return nil
	}
	return names
}

// ask sends one GET for a key with the given parameters.
func (s *Store) ask(ctx context.Context, key string, parameters ...string) (int, []byte, error) {
	target, query := s.base, url.Values{}
	for name, values := range s.query {
		query[name] = values
	}
	for _, parameter := range parameters {
		name, value, _ := strings.Cut(parameter, "=")
		query.Set(name, value)
	}
	key, dc, _ := strings.Cut(strings.TrimPrefix(key, "/"), "@")
	if dc != "" {
		query.Set("dc", dc)
	}
	target.Path += "/v1/kv/" + key
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return 0, nil, fault.New(fault.Data, "the key %q cannot be asked for", key)
	}
	request.Header = s.header.Clone()
	return httpx.Do(s.client, request, store.MaxBytes)
}

// refused returns the error of an answer that is no success.
func refused(key, right string, status int, body []byte) error {
	err := fault.New(httpx.StatusKind(status), "%s: %s answered %d%s", key, Name, status, httpx.Says(body))
	path, _, _ := strings.Cut(key, "@")
	switch {
	case status == http.StatusForbidden && right == "list":
		return fault.Hint(err, `the token in CONSUL_HTTP_TOKEN needs the rule: key_prefix "%s" { policy = "read" }`, store.Folder(path))
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return fault.Hint(err, `the token in CONSUL_HTTP_TOKEN needs the rule: key "%s" { policy = "read" }`, path)
	}
	return err
}
