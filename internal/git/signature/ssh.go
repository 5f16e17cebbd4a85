package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
)

const (
	sshBegin  = "-----BEGIN SSH SIGNATURE-----"
	namespace = "git" // what git's signatures are made for
)

// signer is a line of an allowed signers file.
type signer struct {
	principals    string
	key           ssh.PublicKey
	namespaces    []string // patterns; nil is all
	after, before time.Time
}

// parseSigners reads an allowed signers file.
func parseSigners(text string) ([]signer, error) {
	var signers []signer
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		principals, rest, _ := strings.Cut(line, " ")
		key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(rest)))
		if err != nil {
			return nil, fault.New(fault.Data, "line %d is no allowed signer, such as: dev@example.org ssh-ed25519 AAAA…", number)
		}
		s := signer{principals: strings.Trim(principals, `"`), key: key}
		for _, option := range options {
			if err := s.option(option, number); err != nil {
				return nil, err
			}
		}
		signers = append(signers, s)
	}
	if len(signers) == 0 {
		return nil, fault.New(fault.Data, "it names no key: neither OpenPGP's nor an allowed signer of SSH")
	}
	return signers, nil
}

// option takes an option of a line. One that is not known is refused: it may take trust away.
func (s *signer) option(option string, line int) (err error) {
	name, value, _ := strings.Cut(option, "=")
	value = strings.Trim(value, `"`)
	switch strings.ToLower(name) {
	case "namespaces":
		s.namespaces = strings.Split(value, ",")
	case "valid-after":
		s.after, err = parseTime(value)
	case "valid-before":
		s.before, err = parseTime(value)
	case "cert-authority":
		return fault.New(fault.Unsupported, "line %d trusts an authority of SSH certificates, which is not known here; name the keys themselves", line)
	default:
		return fault.New(fault.Data, "line %d has the option %q, which is not known", line, name)
	}
	if err != nil {
		return fault.New(fault.Data, "line %d: %s %q is no time such as 20260131 or 202601311200Z", line, name, value)
	}
	return nil
}

// parseTime reads YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z].
func parseTime(text string) (time.Time, error) {
	location := time.Local
	if cut, ok := strings.CutSuffix(text, "Z"); ok {
		text, location = cut, time.UTC
	}
	layout := "20060102150405"
	return time.ParseInLocation(layout[:min(len(layout), max(8, len(text)))], text, location)
}

// sshSignature is the blob in the armour, after its magic.
type sshSignature struct {
	Version   uint32
	PublicKey string
	Namespace string
	Reserved  string
	Hash      string
	Signature string
}

// signed is what the signature is of, after the magic.
type signed struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    string
}

var magic = []byte("SSHSIG")

func (k *Keys) verifySSH(s object.Signed) (string, error) {
	block, _ := pem.Decode([]byte(s.Signature))
	if block == nil || !bytes.HasPrefix(block.Bytes, magic) {
		return "", fault.New(fault.Data, "its SSH signature cannot be read")
	}
	var blob sshSignature
	if err := ssh.Unmarshal(block.Bytes[len(magic):], &blob); err != nil || blob.Version != 1 {
		return "", fault.New(fault.Data, "its SSH signature cannot be read")
	}
	if blob.Namespace != namespace {
		return "", fault.New(fault.Data, "its SSH signature was made for %q, not for git", blob.Namespace)
	}
	key, err := ssh.ParsePublicKey([]byte(blob.PublicKey))
	if err != nil {
		return "", fault.New(fault.Data, "the key of its SSH signature cannot be read")
	}
	digest, err := digestOf(blob.Hash, s.Payload)
	if err != nil {
		return "", err
	}
	var signature ssh.Signature
	if err := ssh.Unmarshal([]byte(blob.Signature), &signature); err != nil {
		return "", fault.New(fault.Data, "its SSH signature cannot be read")
	}
	if signature.Format == ssh.KeyAlgoRSA { // SHA-1, which sshsig forbids
		return "", fault.New(fault.Data, "its SSH signature uses SHA-1")
	}
	message := append(slices.Clone(magic), ssh.Marshal(signed{Namespace: blob.Namespace, Hash: blob.Hash, Digest: string(digest)})...)
	if err := key.Verify(message, &signature); err != nil {
		return "", fault.New(fault.Data, "its SSH signature is not good")
	}
	return k.trusted(key, madeAt(s))
}

func digestOf(name string, payload []byte) ([]byte, error) {
	switch name {
	case "sha256":
		sum := sha256.Sum256(payload)
		return sum[:], nil
	case "sha512":
		sum := sha512.Sum512(payload)
		return sum[:], nil
	}
	return nil, fault.New(fault.Data, "its SSH signature uses the hash %q", name)
}

// trusted returns whose key it is.
func (k *Keys) trusted(key ssh.PublicKey, at time.Time) (string, error) {
	expired := false
	for _, s := range k.signers {
		if !bytes.Equal(s.key.Marshal(), key.Marshal()) || !s.forGit() {
			continue
		}
		if (!s.after.IsZero() && at.Before(s.after)) || (!s.before.IsZero() && !at.Before(s.before)) {
			expired = true
			continue
		}
		return s.principals, nil
	}
	if expired {
		return "", fault.New(fault.Data, "its SSH signature is of the key %s, which was not valid at %s", ssh.FingerprintSHA256(key), at.UTC().Format(time.RFC3339))
	}
	return "", fault.New(fault.Data, "its SSH signature is of the key %s, which is not trusted", ssh.FingerprintSHA256(key))
}

// forGit reports whether the line's namespaces are git's too.
func (s *signer) forGit() bool {
	return s.namespaces == nil || slices.ContainsFunc(s.namespaces, func(pattern string) bool {
		ok, err := path.Match(pattern, namespace)
		return ok && err == nil
	})
}
