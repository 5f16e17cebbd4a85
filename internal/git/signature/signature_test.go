package signature_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/signature"
)

var made = time.Unix(1700000000, 0)

// entity returns a new OpenPGP key and its public part, armoured. It is good for so many seconds, 0 is for ever.
func entity(t *testing.T, lifetime uint32) (*openpgp.Entity, []byte) {
	t.Helper()
	config := &packet.Config{Time: func() time.Time { return made.Add(-time.Hour) }, KeyLifetimeSecs: lifetime}
	e, err := openpgp.NewEntity("Dev", "", "dev@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return e, b.Bytes()
}

// sign returns text signed by e, at the time that the commit names.
func sign(t *testing.T, e *openpgp.Entity, text string) object.Signed {
	t.Helper()
	return signAt(t, made, e, text)
}

func signAt(t *testing.T, at time.Time, e *openpgp.Entity, text string) object.Signed {
	t.Helper()
	var b strings.Builder
	config := &packet.Config{Time: func() time.Time { return at }}
	if err := openpgp.ArmoredDetachSign(&b, e, strings.NewReader(text), config); err != nil {
		t.Fatal(err)
	}
	return object.Signed{Signature: b.String(), Payload: []byte(text), Signer: "Dev <dev@example.org> 1700000000 +0000"}
}

func TestOpenPGP(t *testing.T) {
	dev, public := entity(t, 0)
	other, _ := entity(t, 0)
	brief, short := entity(t, 7200) // it has expired since, and was good when it signed
	gone, expired := entity(t, 60)
	var keys signature.Keys
	for _, text := range [][]byte{public, short, expired} {
		if err := keys.Add(text); err != nil {
			t.Fatal(err)
		}
	}
	tampered := sign(t, dev, "a commit")
	tampered.Payload = []byte("another commit")
	for _, c := range []struct {
		name   string
		signed object.Signed
		good   bool
	}{
		{"good", sign(t, dev, "a commit"), true},
		{"expired since", sign(t, brief, "a commit"), true},
		{"expired soon after", signAt(t, made.Add(-time.Hour+10*time.Second), gone, "a commit"), true},
		{"unknown key", sign(t, other, "a commit"), false},
		{"tampered with", tampered, false},
		{"no signature", object.Signed{Payload: []byte("x")}, false},
		{"of X.509", object.Signed{Signature: "-----BEGIN SIGNED MESSAGE-----\n", Payload: []byte("x")}, false},
		{"garbage", object.Signed{Signature: "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n", Payload: []byte("x")}, false},
		{"garbage of SSH", object.Signed{Signature: "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", Payload: []byte("x")}, false},
	} {
		who, err := keys.Verify(c.signed)
		if c.good && (err != nil || !strings.Contains(who, "dev@example.org")) || !c.good && fault.KindOf(err) != fault.Data {
			t.Errorf("%s: got %q, %v", c.name, who, err)
		}
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	for _, text := range []string{
		"", "# nobody\n", "dev@example.org\n", "dev@example.org ssh-ed25519 AAAA\n", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
		"dev no-such-option ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0k8V8y3q6o2v0yO6T2Zp9T3N2q7b5d2a7c1f8m3s4u\n",
	} {
		var keys signature.Keys
		if err := keys.Add([]byte(text)); fault.KindOf(err) != fault.Data {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func FuzzAdd(f *testing.F) {
	f.Add("dev@example.org namespaces=\"git\",valid-after=\"20200101Z\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0k8V8y3q6o2v0yO6T2Zp9T3N2q7b5d2a7c1f8m3s4u\n", "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n")
	f.Fuzz(func(t *testing.T, text, armoured string) {
		var keys signature.Keys
		if err := keys.Add([]byte(text)); err != nil {
			return
		}
		if _, err := keys.Verify(object.Signed{Signature: armoured, Payload: []byte("x")}); err == nil {
			t.Error("nothing was signed")
		}
	})
}
