package vault

import (
	"strings"
	"testing"
	"time"
)

func TestGoodCertificate(t *testing.T) {
	now := time.Now()
	ours, other := newAuthority(t), newAuthority(t)
	leaf, key := ours.issue(t, "a.example.test", now.Add(-time.Hour), now.Add(time.Hour))
	old, oldKey := ours.issue(t, "a.example.test", now.Add(-time.Hour), now.Add(20*time.Minute))
	young, youngKey := ours.issue(t, "a.example.test", now.Add(time.Hour), now.Add(2*time.Hour))
	names := []string{"a.example.test", "10.0.0.7"}
	tests := []struct {
		name, content string
		names         []string
		want          string // in the error; "" for none
	}{
		{"whole", leaf + key + ours.root, names, ""},
		{"in another order, with text between", "# the root\n" + ours.root + "\n" + key + "\n\n" + leaf, names, ""},
		{"without a chain", leaf + key, names, ""},
		{"of capital letters", leaf + key, []string{"A.example.TEST"}, ""},
		{"empty", "", nil, "there is no certificate"},
		{"no certificate", key, nil, "there is no certificate"},
		{"no key", leaf, nil, "there is no key"},
		{"another key", leaf + oldKey, nil, "the key is none of the certificates'"},
		{"another chain", leaf + key + other.root, nil, "the chain is not the certificate's"},
		{"another name", leaf + key, []string{"b.example.test"}, "the certificate has not the name b.example.test"},
		{"old", old + oldKey, nil, "less than a third of the certificate's life is left"},
		{"young", young + youngKey, nil, "not valid before"},
		{"cut", strings.Replace(leaf, "MI", "AA", 1) + key, nil, "a certificate cannot be parsed"},
		{"cut key", leaf + strings.Replace(key, "MI", "AA", 1), nil, "the key cannot be parsed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := GoodCertificate([]byte(test.content), Request{Names: test.names}, now); err != nil {
				got = err.Error()
			}
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzGoodCertificate(f *testing.F) {
	now := time.Unix(1795411390, 0)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"), "a")
	f.Add([]byte(""), "")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		if err := GoodCertificate(content, Request{Names: []string{name}}, now); err == nil {
			t.Error("a bundle that nobody signed is good")
		}
	})
}
