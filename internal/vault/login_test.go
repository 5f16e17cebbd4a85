package vault

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

func TestEachMethodSendsItsRequest(t *testing.T) {
	tests := []struct {
		name    string
		options []string
		environ map[string]string
		path    string
		want    map[string]any
	}{
		{
			"kubernetes", role, nil,
			"auth/kubernetes/login",
			map[string]any{"role": "app", "jwt": "header.payload.signature"},
		},
		{
			"kubernetes by default, mounted elsewhere",
			[]string{"role=app", "jwt-file=/jwt", "auth-path=auth/clusters/eu1"},
			nil,
			"auth/clusters/eu1/login",
			map[string]any{"role": "app", "jwt": "header.payload.signature"},
		},
		{
			"jwt",
			[]string{"auth=jwt", "jwt-file=/jwt"},
			nil,
			"auth/jwt/login",
			map[string]any{"jwt": "header.payload.signature"},
		},
		{
			"approle",
			[]string{"auth=approle", "role-id=r-1", "secret-id-from=file:/secret-id"},
			nil,
			"auth/approle/login",
			map[string]any{"role_id": "r-1", "secret_id": "s-1"},
		},
		{
			"approle without a secret id",
			[]string{"auth=approle", "role-id-from=env:ROLE_ID"},
			map[string]string{"ROLE_ID": "r-2"},
			"auth/approle/login",
			map[string]any{"role_id": "r-2"},
		},
		{
			"approle with a wrapped secret id",
			[]string{"auth=approle", "role-id=r-1", "secret-id-from=env:WRAPPED", "secret-id-wrapped=true"},
			map[string]string{"WRAPPED": "wrapping"},
			"auth/approle/login",
			map[string]any{"role_id": "r-1", "secret_id": "unwrapped-secret-id"},
		},
		{
			"cert",
			[]string{"auth=cert", "role=web", "cert-file=/client.pem", "key-file=/client.key"},
			nil,
			"auth/cert/login",
			map[string]any{"name": "web"},
		},
		{
			"userpass",
			[]string{"auth=userpass", "username=bob", "password-from=file:/password"},
			nil,
			"auth/userpass/login/bob",
			map[string]any{"password": "hunter2"},
		},
		{
			"ldap",
			[]string{"auth=userpass", "auth-path=ldap", "username=bob", "password-from=file:/password"},
			nil,
			"auth/ldap/login/bob",
			map[string]any{"password": "hunter2"},
		},
		{
			"gcp",
			[]string{"auth=gcp", "role=app"},
			nil,
			"auth/gcp/login",
			map[string]any{"role": "app", "jwt": "google:vault/app"},
		},
		{
			"azure on a machine",
			[]string{"auth=azure", "role=app"},
			nil,
			"auth/azure/login",
			map[string]any{
				"role": "app", "jwt": "entra:https://management.azure.com/",
				"subscription_id": "sub", "resource_group_name": "group", "vmss_name": "set",
			},
		},
		{
			"azure by workload identity",
			[]string{"auth=azure", "role=app"},
			map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/jwt", "AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant", "AZURE_AUTHORITY_HOST": "http://entra.test"},
			"auth/azure/login",
			map[string]any{"role": "app", "jwt": "federated:header.payload.signature:https://management.azure.com/.default"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			p := newPod(t, f)
			p.write("secret-id", "s-1\n")
			p.write("password", "hunter2\n")
			certificate, key := f.issue(t, "client", f.certificate.NotBefore, f.certificate.NotAfter)
			p.write("client.pem", certificate)
			p.write("client.key", key)
			for name, value := range test.environ {
				p.environ[name] = value
			}
			p.clouds()
			s := p.open(test.options...)
			login := f.requests[len(f.requests)-1]
			if login.Path != test.path {
				t.Errorf("got path %s, want %s", login.Path, test.path)
			}
			if diff := cmp.Diff(test.want, login.Body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			p.close(s, false)
			if got := f.living(); len(got) > 0 {
				t.Errorf("left on the server: %v", got)
			}
		})
	}
}

// clouds lets the pod reach the identity services of Google, Microsoft and AWS, at their own addresses.
func (p *pod) clouds() {
	p.t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Query().Get("format") != "full" {
			w.WriteHeader(403)
			return
		}
		_, _ = io.WriteString(w, "google:"+r.URL.Query().Get("audience")+"\n")
	})
	mux.HandleFunc("GET 169.254.169.254/metadata/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Metadata") != "true":
			w.WriteHeader(400)
		case strings.HasSuffix(r.URL.Path, "/oauth2/token"):
			_, _ = io.WriteString(w, `{"access_token":"entra:`+r.URL.Query().Get("resource")+`"}`)
		default:
			_, _ = io.WriteString(w, `{"compute":{"name":"set_0","vmScaleSetName":"set","subscriptionId":"sub","resourceGroupName":"group"}}`)
		}
	})
	mux.HandleFunc("POST entra.test/tenant/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"federated:`+r.PostFormValue("client_assertion")+":"+r.PostFormValue("scope")+`"}`)
	})
	mux.HandleFunc("POST sts.test/", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("RoleArn") != "arn:aws:iam::1:role/app" || r.PostFormValue("WebIdentityToken") != "header.payload.signature" {
			w.WriteHeader(403)
			return
		}
		_, _ = io.WriteString(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
			<Credentials><AccessKeyId>WEB</AccessKeyId><SecretAccessKey>web-key</SecretAccessKey><SessionToken>web-token</SessionToken></Credentials>
			</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
	})
	mux.HandleFunc("GET 169.254.170.23/v1/credentials", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "header.payload.signature" {
			w.WriteHeader(401)
			return
		}
		_, _ = io.WriteString(w, `{"AccessKeyId":"POD","SecretAccessKey":"pod-key","Token":"pod-token"}`)
	})
	server := httptest.NewServer(mux)
	p.t.Cleanup(server.Close)
	at := server.Listener.Addr().String()
	p.env.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !strings.HasPrefix(addr, "127.0.0.1:") {
			addr = at
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

func TestAWSSignsWithThePodsCredentials(t *testing.T) {
	tests := []struct {
		name    string
		environ map[string]string
		id      string
		host    string
	}{
		{"keys", map[string]string{"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "s"}, "KEY", "sts.amazonaws.com"},
		{
			"a web identity", map[string]string{
				"AWS_WEB_IDENTITY_TOKEN_FILE": "/jwt", "AWS_ROLE_ARN": "arn:aws:iam::1:role/app", "AWS_ENDPOINT_URL_STS": "http://sts.test", "AWS_REGION": "eu-central-1",
			}, "WEB", "sts.eu-central-1.amazonaws.com",
		},
		{
			"a credentials endpoint", map[string]string{
				"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/jwt", "AWS_REGION": "cn-north-1",
			}, "POD", "sts.cn-north-1.amazonaws.com.cn",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			p := newPod(t, f)
			for name, value := range test.environ {
				p.environ[name] = value
			}
			p.clouds()
			s := p.open("auth=aws", "role=app", "audience=vault.example")
			body := f.requests[len(f.requests)-1].Body
			decoded := map[string]string{}
			for name, value := range body {
				text, _ := value.(string)
				if strings.HasPrefix(name, "iam_request_") {
					raw, err := base64.StdEncoding.DecodeString(text)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					text = string(raw)
				}
				decoded[name] = text
			}
			if got, want := decoded["iam_request_url"], "https://"+test.host+"/"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got, want := decoded["iam_request_body"], identityRequest; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			for _, want := range []string{`"Authorization":["AWS4-HMAC-SHA256 Credential=` + test.id + "/", `"X-Vault-Aws-Iam-Server-Id":["vault.example"]`, `;x-vault-aws-iam-server-id,`} {
				if !strings.Contains(decoded["iam_request_headers"], want) {
					t.Errorf("got headers %s, want %s in them", decoded["iam_request_headers"], want)
				}
			}
			p.close(s, false)
		})
	}
}

func TestFaultsOfOptions(t *testing.T) {
	tests := []struct {
		options []string
		want    string
	}{
		{[]string{"auth=magic"}, `--auth "magic" is none of approle, aws, azure, cert, gcp, jwt, kubernetes, token-file, userpass`},
		{[]string{"auth=kubernetes"}, "--auth kubernetes needs a --role"},
		{[]string{"auth=jwt"}, "--auth jwt needs --jwt-file"},
		{[]string{"auth=approle"}, "--auth approle needs --role-id or --role-id-from, one of them"},
		{[]string{"auth=approle", "role-id=a", "secret-id-wrapped=true"}, "--secret-id-wrapped needs --secret-id-from"},
		{[]string{"auth=userpass"}, "--auth userpass needs --username\n--auth userpass needs --password-from"},
		{[]string{"auth=cert", "cert-file=/c"}, "--cert-file and --key-file go together"},
		{[]string{"role=app", "username=bob"}, "--username is not for --auth kubernetes: it is for userpass"},
		{[]string{"auth=kubernetes", "role=app", "token-file=/t"}, "--token-file is not for --auth kubernetes: it is for token-file"},
		{[]string{"address=vault:8200"}, "the address of the Vault server is neither http://, https:// nor unix:///"},
		{[]string{"address=https://bob:hunter2@vault"}, "the address of the Vault server has a user or a password in it"},
		{[]string{"address=https://vault?x=hunter2"}, "the address of the Vault server has a query or a fragment"},
	}
	for _, test := range tests {
		_, err := config(t, test.options...).Effects()
		if err == nil || err.Error() != test.want || fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: got %v, want %s", test.options, err, test.want)
		}
	}
}

func TestEffectsNameFilesAndServers(t *testing.T) {
	tests := []struct {
		options []string
		want    []step.Effect
	}{
		{nil, nil},
		{
			[]string{"address=https://vault.example/sub", "auth=kubernetes", "role=app", "ca-file=/ca"},
			[]step.Effect{{Verb: step.Dial, Object: "tcp://vault.example:443"}, {Verb: step.Read, Object: "/ca"}, {Verb: step.Read, Object: serviceAccountToken}},
		},
		{
			[]string{"address=unix:///run/agent.sock", "auth=approle", "role-id=a", "secret-id-from=file:/s"},
			[]step.Effect{{Verb: step.Dial, Object: "unix:///run/agent.sock"}, {Verb: step.Read, Object: "/s"}},
		},
		{[]string{"auth=azure", "role=app"}, []step.Effect{{Verb: step.Dial, Object: "tcp://169.254.169.254:80"}}},
	}
	for _, test := range tests {
		got, err := config(t, test.options...).Effects()
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%v: %v (-want +got):\n%s", test.options, err, diff)
		}
	}
}

func TestALoginThatIsRefusedNamesAllButTheCredential(t *testing.T) {
	approleOptions := []string{"auth=approle", "role-id=the-role-id", "secret-id-from=env:SECRET_ID"}
	tests := []struct {
		name    string
		options []string
		path    string
		reply   reply
		kind    fault.Kind
		want    string // after the address
		hint    string
	}{
		{
			"forbidden", role, "auth/kubernetes/login",
			reply{403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`},
			fault.Permission,
			" by kubernetes at auth/kubernetes as the role app: permission denied (403)", "bind the pod's service account and namespace",
		},
		{
			"an echo of the credential", approleOptions, "auth/approle/login",
			reply{400, `{"errors":["invalid secret id \"the-secret-id\""]}`},
			fault.Permission,
			` by approle at auth/approle: invalid secret id "[redacted]" (400)`, "take a new one",
		},
		{
			"a wrong password, as 1.13 says it",
			[]string{"auth=userpass", "username=bob", "password-from=env:SECRET_ID"},
			"auth/userpass/login/bob",
			reply{500, `{"errors":["invalid username or password"]}`},
			fault.Permission,
			" by userpass at auth/userpass as bob: invalid username or password (500)", "the method must be mounted at auth/userpass",
		},
		{
			"an identity that the role does not bind, as azure says it",
			[]string{"auth=azure", "role=app"},
			"auth/azure/login",
			reply{500, `{"errors":["service principal not authorized: 0-1"]}`},
			fault.Permission,
			" by azure at auth/azure as the role app: service principal not authorized: 0-1 (500)", "the role must bind this pod's managed identity",
		},
		{
			"no TokenReview", role, "auth/kubernetes/login",
			reply{500, `{"errors":["Post \"https://10.0.0.1/apis\": dial tcp: connection refused"]}`},
			fault.Temporary,
			` by kubernetes at auth/kubernetes as the role app: Post "https://10.0.0.1/apis": dial tcp: connection refused (500)`, "",
		},
		{
			"a second factor", role, "auth/kubernetes/login",
			reply{200, `{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"x"}}}`},
			fault.Permission,
			" by kubernetes at auth/kubernetes as the role app: the server gave no token", "second factor",
		},
		{
			"a wrapping token that was used", append(approleOptions, "secret-id-wrapped=true"), "",
			reply{},
			fault.Permission,
			" by approle at auth/approle: unwrap the secret id: wrapping token is not valid or does not exist (400)", "somebody else has read the secret id",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			p := newPod(t, f)
			p.clouds()
			p.environ["SECRET_ID"] = "the-secret-id"
			if test.path != "" {
				f.reply(test.path, test.reply.status, test.reply.body)
			}
			_, err := Open(t.Context(), p.env, config(t, test.options...))
			if err == nil {
				t.Fatal("want an error")
			}
			if got, want := err.Error(), "log in to "+f.URL+test.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if got := fault.KindOf(err); got != test.kind {
				t.Errorf("got kind %s, want %s", got, test.kind)
			}
			if got := fault.HintOf(err); !strings.Contains(got, test.hint) || (got == "") != (test.hint == "") {
				t.Errorf("got hint %q, want %q in it", got, test.hint)
			}
		})
	}
}

func TestFilesThatAreNotThere(t *testing.T) {
	tests := []struct {
		options []string
		want    string
		hint    string
	}{
		{[]string{"role=app"}, "read " + serviceAccountToken + ": no such file or directory", "serviceAccountToken: {audience: vault, path: token}"},
		{[]string{"token-file=/none"}, "read /none: no such file or directory", ""},
		{[]string{"role=app", "ca-file=/none"}, "read /none: no such file or directory", ""},
	}
	for _, test := range tests {
		p := newPod(t, newFake(t))
		_, err := Open(t.Context(), p.env, config(t, test.options...))
		if err == nil || !strings.HasSuffix(err.Error(), test.want) || fault.KindOf(err) != fault.NoInput || !strings.Contains(fault.HintOf(err), test.hint) {
			t.Errorf("%v: got %v (%v), want %s", test.options, err, fault.HintOf(err), test.want)
		}
	}
}

func TestVariablesThatAreWrong(t *testing.T) {
	for name, value := range map[string]string{
		"VAULT_ADDR": "vault", "VAULT_SKIP_VERIFY": "perhaps", "VAULT_CLIENT_TIMEOUT": "-3", "VAULT_PROXY_ADDR": "hunter2",
	} {
		p := newPod(t, newFake(t))
		p.environ[name] = value
		_, err := Open(t.Context(), p.env, config(t, role...))
		if fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s=%s: got %v, want a usage fault", name, value, err)
		}
	}
	p := newPod(t, newFake(t))
	if _, err := Open(t.Context(), p.env, config(t)); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--auth kubernetes needs a --role") {
		t.Errorf("without a role and a token: got %v", err)
	}
}

func TestTheNamespaceGoesWithEveryRequest(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open(append([]string{"namespace=team-a"}, role...)...)
	if _, err := s.Read(t.Context(), "secret/app", nil); err != nil {
		t.Fatal(err)
	}
	p.close(s, false)
	for _, r := range f.requests {
		if strings.Trim(r.Namespace, "/") != "team-a" {
			t.Errorf("%s %s: got namespace %q", r.Method, r.Path, r.Namespace)
		}
	}
}

func TestASocketIsSpokenToAsAServer(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	listener, err := net.Listen("unix", filepath.Join(p.root, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: f}}
	server.Start()
	t.Cleanup(server.Close)
	s := p.open(append([]string{"address=unix:///agent.sock"}, role...)...)
	if _, err := s.Read(t.Context(), "secret/app", nil); err != nil {
		t.Error(err)
	}
	p.close(s, false)
}

func TestVaultsOwnProxyIsUsed(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	p.environ["VAULT_PROXY_ADDR"] = proxy.URL
	_, err := Open(t.Context(), p.env, config(t, role...))
	at, _ := url.Parse(f.URL)
	if diff := cmp.Diff([]string{"CONNECT " + at.Host}, asked); diff != "" || err == nil {
		t.Errorf("got %v (-want +got):\n%s", err, diff)
	}
}

func TestOptionsAreDescribed(t *testing.T) {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(Config).Flags(fs)
	fs.VisitAll(func(flag *pflag.Flag) {
		if flag.Usage == "" || !regexp.MustCompile(`^[a-z-]+$`).MatchString(flag.Name) {
			t.Errorf("option %q: %q", flag.Name, flag.Usage)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"", "https://vault.example:8200", "http://[::1]:8200/sub/", "unix:///run/agent.sock", "https://bob:hunter2@vault", "vault:8200", "https://vault:8200:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseAddress(text)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("%q: got %v, want a usage fault", text, err)
			}
			return
		}
		again, err := parseAddress(at.String())
		if err != nil || again.object() != at.object() {
			t.Errorf("%q: %s is not read as it was written: %v", text, at, err)
		}
	})
}

// A wrapping token can be used once, and the server may be sealed between that and the login.
func TestAWrappedSecretIDOutlivesAFailedAttempt(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	p.environ["WRAPPED"] = "wrapping"
	c := config(t, "auth=approle", "role-id=r-1", "secret-id-from=env:WRAPPED", "secret-id-wrapped=true")
	f.reply("auth/approle/login", 503, `{"errors":["Vault is sealed"]}`)
	if _, err := Open(t.Context(), p.env, c); fault.KindOf(err) != fault.Temporary {
		t.Fatalf("got %v, want a sealed server", err)
	}
	f.reply("auth/approle/login", 0, "")
	f.reply("sys/wrapping/unwrap", 400, `{"errors":["wrapping token is not valid or does not exist"]}`)
	s, err := Open(t.Context(), p.env, c)
	if err != nil {
		t.Fatal(err)
	}
	p.close(s, false)
}
