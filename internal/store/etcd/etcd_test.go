package etcd_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
	"github.com/slipway-init/slipway/internal/store/etcd"
)

const header = `{"header":{"cluster_id":"324952591200643719","member_id":"3319814642761637952","revision":"4","raft_term":"2"}`

// answers are what etcd 3.4.23 answered, by path and question.
var answers = map[string]string{
	`/v3/kv/range {"key":"YXBwL3BvcnQ="}`:                                                 header + `,"kvs":[{"key":"YXBwL3BvcnQ=","create_revision":"2","mod_revision":"2","version":"1","value":"ODA4MA=="}],"count":"1"}`,
	`/v3/kv/range {"key":"YXBwL25vbmU="}`:                                                 header + `}`,
	`/v3/kv/range {"key":"bm9uZQ=="}`:                                                     header + `}`,
	`/v3/kv/range {"key":"YXBwLw==","range_end":"YXBwMA=="}`:                              header + `,"kvs":[{"key":"YXBwL2EvYg==","create_revision":"3","mod_revision":"3","version":"1","value":"eA=="},{"key":"YXBwL3BvcnQ=","create_revision":"2","mod_revision":"2","version":"1","value":"ODA4MA=="}],"count":"2"}`,
	`/v3/kv/range {"key":"YXBwLw==","range_end":"YXBwMA==","limit":100,"keys_only":true}`: header + `,"kvs":[{"key":"YXBwL2EvYg==","create_revision":"3","mod_revision":"3","version":"1"},{"key":"YXBwL3BvcnQ=","create_revision":"2","mod_revision":"2","version":"1"}],"count":"2"}`,
	`/v3/kv/range {"key":"AA==","range_end":"AA==","limit":100,"keys_only":true}`:         header + `,"kvs":[{"key":"YXBwL2EvYg==","create_revision":"3","mod_revision":"3","version":"1"}],"count":"1"}`,
	`/v3/auth/authenticate {"name":"app","password":"hunter2"}`:                           header + `,"token":"tOkEn.8"}`,
	`/v3/auth/authenticate {"name":"app","password":"wrong"}`:                             `400 {"error":"etcdserver: authentication failed, invalid user ID or password","message":"etcdserver: authentication failed, invalid user ID or password","code":3}`,
	`/v3/auth/authenticate {"name":"open","password":"x"}`:                                `412 {"error":"etcdserver: authentication is not enabled","message":"etcdserver: authentication is not enabled","code":9}`,
	`/v3/kv/range {"key":"c2VjcmV0L2Ri"}`:                                                 `400 {"error":"etcdserver: user name is empty","message":"etcdserver: user name is empty","code":3}`,
	`tOkEn.8 /v3/kv/range {"key":"c2VjcmV0L2Ri"}`:                                         `403 {"error":"etcdserver: permission denied","message":"etcdserver: permission denied","code":7}`,
	`tOkEn.8 /v3/kv/range {"key":"YXBwL3BvcnQ="}`:                                         header + `,"kvs":[{"key":"YXBwL3BvcnQ=","value":"c2VjcmV0"}],"count":"1"}`,
	`/v3/kv/range {"key":"ZG93bg=="}`:                                                     `503 {"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}`,
	`/v3/kv/range {"key":"b2Rk"}`:                                                         `not JSON`,
}

func server(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer, ok := answers[strings.TrimSpace(r.Header.Get("Authorization")+" "+r.URL.Path+" "+string(question))]
		if !ok {
			answer = "404 page not found"
		}
		if status, rest, _ := strings.Cut(answer, " "); len(status) == 3 && status != "not" {
			w.WriteHeader(map[string]int{"400": 400, "403": 403, "404": 404, "412": 412, "503": 503}[status])
			answer = rest
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func open(pairs ...string) (*etcd.Store, error) {
	values := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return etcd.Open(&step.Env{
		Getenv: func(name string) string { return values[name] },
		HTTP:   &http.Client{Transport: &http.Transport{}}, Dial: new(net.Dialer).DialContext,
	})
}

func TestGet(t *testing.T) {
	url := server(t)
	const login = "set ETCDCTL_USER and ETCDCTL_PASSWORD; a client certificate's name is no login over etcd's gateway"
	for _, test := range []struct {
		key    string
		env    []string
		want   string
		fault  string
		kind   fault.Kind
		hinted string
	}{
		{key: "app/port", want: "8080"},
		{key: "app/port", env: []string{"ETCDCTL_USER", "app:hunter2"}, want: "secret"},
		{key: "app/port", env: []string{"ETCDCTL_USER", "app", "ETCDCTL_PASSWORD", "hunter2"}, want: "secret"},
		{key: "app/port", env: []string{"ETCDCTL_USER", "open:x"}, want: "8080"},
		{key: "", fault: "the key is empty", kind: fault.Data},
		{key: "app/none", fault: "etcd has no key app/none; beside it are app/a/b, app/port", kind: fault.NoInput},
		{key: "none", fault: "etcd has no key none; beside it is app/a/b", kind: fault.NoInput},
		{
			key: "secret/db", env: []string{"ETCDCTL_USER", "app:hunter2"}, kind: fault.Permission,
			fault:  "secret/db: etcd answered 403: etcdserver: permission denied",
			hinted: "a role of the user in ETCDCTL_USER needs: etcdctl role grant-permission ROLE read secret/db",
		},
		{key: "secret/db", fault: "secret/db: etcd answered 400: etcdserver: user name is empty", kind: fault.Permission, hinted: login},
		{
			key: "secret/db", env: []string{"ETCDCTL_USER", "app:wrong"}, kind: fault.Permission, hinted: login,
			fault: "log in as app: etcd answered 400: etcdserver: authentication failed, invalid user ID or password",
		},
		{key: "down", fault: "down: etcd answered 503: etcdserver: no leader", kind: fault.Temporary},
		{key: "odd", fault: "odd: etcd answered with what is not its JSON", kind: fault.Data},
		{key: "nowhere", fault: "nowhere: etcd answered 404", kind: fault.Data},
	} {
		s, err := open(append(test.env, "ETCDCTL_ENDPOINTS", url+"/")...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(context.Background(), test.key)
		if test.fault == "" {
			if err != nil || got != test.want {
				t.Errorf("%s: got %q, %v, want %q", test.key, got, err, test.want)
			}
			continue
		}
		if err == nil || err.Error() != test.fault || fault.KindOf(err) != test.kind || fault.HintOf(err) != test.hinted {
			t.Errorf("%s:\n got %v (%v, %s)\nwant %s (%v, %s)", test.key, err, fault.KindOf(err), fault.HintOf(err), test.fault, test.kind, test.hinted)
		}
	}
}

func TestList(t *testing.T) {
	s, err := open("ETCDCTL_ENDPOINTS", server(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.List(context.Background(), "app")
	want := []store.Pair{{Path: "app/a/b", Key: "a/b", Value: "x"}, {Path: "app/port", Key: "port", Value: "8080"}}
	if diff := cmp.Diff(got, want); err != nil || diff != "" {
		t.Errorf("error %v (- got, + want):\n%s", err, diff)
	}
}

func TestAnEndpointThatIsGoneIsPassedOver(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	s, err := open("ETCDCTL_ENDPOINTS", gone.URL+", "+server(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(context.Background(), "app/port"); err != nil || got != "8080" {
		t.Errorf("got %q, %v", got, err)
	}
	if s, err = open("ETCDCTL_ENDPOINTS", gone.URL); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(context.Background(), "app/port"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v (%v)", err, fault.KindOf(err))
	}
}

func TestWrongEnvironment(t *testing.T) {
	for _, test := range []struct {
		env  []string
		want string
	}{
		{[]string{"ETCDCTL_ENDPOINTS", "http://u:hunter2@host"}, "ETCDCTL_ENDPOINTS has what is no endpoint"},
		{[]string{"ETCDCTL_ENDPOINTS", "a:1,,b:1"}, "ETCDCTL_ENDPOINTS has what is no endpoint"},
		{[]string{"ETCDCTL_ENDPOINTS", "unix://x"}, "ETCDCTL_ENDPOINTS has what is no endpoint"},
		{[]string{"ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "perhaps"}, "ETCDCTL_INSECURE_SKIP_TLS_VERIFY is neither true nor false"},
		{[]string{"ETCDCTL_CACERT", "/none"}, "read /none: no such file or directory"},
	} {
		if _, err := open(test.env...); err == nil || err.Error() != test.want {
			t.Errorf("%v: got %v, want %s", test.env, err, test.want)
		}
	}
}
