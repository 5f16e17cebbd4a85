// Package signature verifies the signatures of commits and tags, by SSH keys or OpenPGP keys that the user trusts.
//
// signature.go reads what is trusted and asks the one or the other; ssh.go has SSH's, of sshsig (PROTOCOL.sshsig of
// OpenSSH) and ALLOWED SIGNERS in ssh-keygen(1); OpenPGP is github.com/ProtonMail/go-crypto.
package signature

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
)

// Keys are who is trusted to sign.
type Keys struct {
	signers []signer
	pgp     openpgp.EntityList
}

// Add adds the keys of a file: OpenPGP's public keys, armoured, or an allowed signers file of SSH.
func (k *Keys) Add(text []byte) error {
	if strings.Contains(string(text), "-----BEGIN PGP PUBLIC KEY BLOCK-----") {
		entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(string(text)))
		if err != nil {
			return fault.New(fault.Data, "the OpenPGP keys cannot be read: %w", err)
		}
		k.pgp = append(k.pgp, entities...)
		return nil
	}
	signers, err := parseSigners(string(text))
	if err != nil {
		return err
	}
	k.signers = append(k.signers, signers...)
	return nil
}

// Verify returns who signed, if it is somebody who is trusted; else a Data fault. A key must have been valid when the
// signature says that it was made (OpenPGP) or when the commit or tag says so (SSH, whose signatures have no time): one that
// has expired since was right then.
func (k *Keys) Verify(s object.Signed) (who string, err error) {
	switch {
	case s.Signature == "":
		return "", fault.New(fault.Data, "it is not signed")
	case strings.HasPrefix(s.Signature, sshBegin):
		return k.verifySSH(s)
	case strings.HasPrefix(s.Signature, "-----BEGIN PGP SIGNATURE-----"):
		return k.verifyPGP(s)
	}
	return "", fault.New(fault.Data, "its signature is neither SSH's nor OpenPGP's")
}

func (k *Keys) verifyPGP(s object.Signed) (string, error) {
	at, err := signedAt(s.Signature)
	if err != nil {
		return "", err
	}
	config := &packet.Config{Time: func() time.Time { return at }}
	entity, err := openpgp.CheckArmoredDetachedSignature(k.pgp, strings.NewReader(string(s.Payload)), strings.NewReader(s.Signature), config)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", fault.New(fault.Data, "its OpenPGP signature is of a key that is not trusted")
	case err != nil:
		return "", fault.New(fault.Data, "its OpenPGP signature is not good: %w", err)
	}
	if identity := entity.PrimaryIdentity(); identity != nil {
		return identity.Name, nil
	}
	return entity.PrimaryKey.KeyIdString(), nil
}

// signedAt returns when an OpenPGP signature says that it was made.
func signedAt(armoured string) (time.Time, error) {
	block, err := armor.Decode(strings.NewReader(armoured))
	if err != nil {
		return time.Time{}, fault.New(fault.Data, "its OpenPGP signature cannot be read: %w", err)
	}
	p, err := packet.NewReader(block.Body).Next()
	signature, ok := p.(*packet.Signature)
	if err != nil || !ok {
		return time.Time{}, fault.New(fault.Data, "its OpenPGP signature cannot be read")
	}
	return signature.CreationTime, nil
}

// madeAt returns when a commit or tag says that it was made, now if it does not say.
func madeAt(s object.Signed) time.Time {
	_, after, _ := strings.Cut(s.Signer, "> ")
	seconds, _, _ := strings.Cut(after, " ")
	if n, err := strconv.ParseInt(seconds, 10, 64); err == nil {
		return time.Unix(n, 0)
	}
	return time.Now()
}
