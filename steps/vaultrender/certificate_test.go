package vaultrender_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/internal/vault"
	"github.com/slipway-init/slipway/steps/vaultrender"
)

// authority signs certificates as Vault's PKI engine does.
type authority struct {
	t      testing.TB
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
	life   time.Duration // of the next certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, life: time.Hour}
	a.cert, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign returns a certificate of form by a, or by itself if there is no a yet.
func (a *authority) sign(form *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	a.serial++
	form.SerialNumber = big.NewInt(a.serial)
	form.NotBefore, form.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(a.life)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = form, key
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue answers as pki/issue/… does: without a line feed at the end of a PEM block.
func (a *authority) issue(_ string, data map[string]any) (*vault.Secret, error) {
	name, _ := data["common_name"].(string)
	cert, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	block := func(kind string, der []byte) string {
		return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	ca := block("CERTIFICATE", a.cert.Raw)
	return &vault.Secret{Data: map[string]any{
		"certificate": block("CERTIFICATE", cert.Raw), "private_key": block("EC PRIVATE KEY", der), "issuing_ca": ca,
		"ca_chain": []any{ca},
	}}, nil
}

const (
	whole = `{{ with pkiCert "pki/issue/web" "common_name=web.test" }}{{ .Cert }}{{ .CA }}{{ .Data.Key }}{{ end }}`
	cert  = `{{ with pkiCert "pki/issue/web" "common_name=web.test" }}{{ .Data.Cert }}{{ range .CAChain }}{{ . }}{{ end }}{{ end }}`
	key   = `{{ with pkiCert "pki/issue/web" "common_name=web.test" }}{{ .Key }}{{ end }}`
)

func TestACertificateIsUsedWhileItIsGood(t *testing.T) {
	tests := []struct {
		name      string
		templates map[string]string
		options   steptest.Options
	}{
		{"in one file", map[string]string{"a": whole}, steptest.Options{"template=/t/a=/out/a"}},
		{"in two files", map[string]string{"a": cert, "b": key}, steptest.Options{"template=/t/a=/out/a", "template=/t/b=/out/b"}},
		{
			"in files that the template writes",
			map[string]string{"a": strings.ReplaceAll(whole, "}}{{ .Data.Key }}", `}}{{ .Key | writeToFile "/out/key.pem" "" "" "0400" }}`)},
			steptest.Options{"template=/t/a=/out/a", "files-below=/out"},
		},
		{
			"two of them in one file",
			map[string]string{"a": whole + strings.ReplaceAll(whole, "web.test", "api.test")},
			steptest.Options{"template=/t/a=/out/a"},
		},
		{
			"within YAML",
			map[string]string{"a": strings.ReplaceAll("tls: |\n"+whole, " }}{{ .Cert }}{{ .CA }}{{ .Data.Key }}",
				` }}{{ .Cert | indent 2 }}{{ .CA | indent 2 }}{{ .Key | indent 2 }}`)},
			steptest.Options{"template=/t/a=/out/a"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			prepare(test.templates)(t, root)
			v := newServer()
			v.write = newAuthority(t).issue
			render := func() map[string]string {
				t.Helper()
				if result := steptest.Run(context.Background(), steptest.Task(t, v.kind(), test.options), root); result.State != run.Done {
					t.Fatal(result.Err)
				}
				return content(t, root+"/out")
			}
			first := render()
			asked := slices.Clone(v.asked)
			if second := render(); !maps.Equal(first, second) {
				t.Errorf("the second run got %q, the first %q", second, first)
			}
			if !slices.Equal(v.asked, asked) {
				t.Errorf("the second run asked for %q, the first for %q", v.asked[len(asked):], asked)
			}
		})
	}
}

func TestACertificateIsReplaced(t *testing.T) {
	tests := []struct {
		name       string
		old, young string
		life       time.Duration // of the first certificate
	}{
		{"for another name", whole, strings.ReplaceAll(whole, "web.test", "api.test"), time.Hour},
		{"near its end", whole, whole, 2 * time.Second},
		{"without its key", cert, whole, time.Hour},
		{"without a part that the template has now", strings.ReplaceAll(whole, "{{ .CA }}", ""), whole, time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			v := newServer()
			ca := newAuthority(t)
			v.write = ca.issue
			for i, text := range []string{test.old, test.young} {
				ca.life = test.life
				if i > 0 {
					ca.life = time.Hour
				}
				task := steptest.Task(t, v.kind(), steptest.Options{"inline=true", "template=" + text, "dest=/a"})
				if result := steptest.Run(context.Background(), task, root); result.State != run.Done {
					t.Fatal(result.Err)
				}
			}
			if want := []string{"write pki/issue/web", "write pki/issue/web"}; !slices.Equal(v.asked, want) {
				t.Errorf("got %q, want %q", v.asked, want)
			}
		})
	}
}

func TestAnAnswerWithoutACertificateIsAFault(t *testing.T) {
	v := newServer()
	v.write = func(string, map[string]any) (*vault.Secret, error) {
		return &vault.Secret{Data: map[string]any{"certificate": "s3cret"}}, nil
	}
	err := steptest.Run(context.Background(), steptest.Task(t, v.kind(), steptest.Options{"inline=true", "template=" + whole, "dest=/a"}), t.TempDir()).Err
	want := `vault-render: inline template:1:8: <pkiCert "pki/issue/web" "common_name=web.test">: pki/issue/web: the answer holds no certificate with its private key`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func FuzzCertificates(f *testing.F) {
	ca := newAuthority(f)
	answer, err := ca.issue("", map[string]any{"common_name": "web.test"})
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"certificate", "private_key", "issuing_ca"} {
		f.Add([]byte(answer.Data[name].(string)))
	}
	f.Add([]byte("-----BEGIN X-----\n  -----END X-----"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if leaves, authorities, keys := vaultrender.Certificates(content); leaves+authorities+keys > 64 {
			t.Errorf("got %d, %d and %d", leaves, authorities, keys)
		}
	})
}
