package waitfor

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// scramMechanism is SCRAM-SHA-256 of RFC 7677 without channel binding.
const scramMechanism = "SCRAM-SHA-256"

// maxIterations bounds the work that a server may ask for. PostgreSQL's default is 4096.
const maxIterations = 1_000_000

// scram is the client's side of one SCRAM exchange. The password is taken as it is: SASLprep (RFC 4013) would change
// only some that are not ASCII, and those are better given in their normal form.
type scram struct {
	password  string
	nonce     string
	bare      string // the first message without the channel binding's header
	signature []byte // what the server must prove
}

func newScram(password string) *scram { return &scram{password: password, nonce: rand.Text()} }

// first returns the client's first message. PostgreSQL takes the user from the startup message.
func (s *scram) first() string {
	s.bare = "n=,r=" + s.nonce
	return "n,," + s.bare
}

var errScram = fault.New(fault.Unsupported, "the server's %s message is malformed", scramMechanism)

// final answers the server's challenge.
func (s *scram) final(challenge string) (string, error) {
	nonce, salt, iterations, ok := parseChallenge(challenge)
	if !ok || len(nonce) <= len(s.nonce) || !strings.HasPrefix(nonce, s.nonce) {
		return "", errScram
	}
	salted, err := pbkdf2.Key(sha256.New, s.password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fault.New(fault.Unsupported, "derive the key of %s: %w", scramMechanism, err)
	}
	unproven := "c=biws,r=" + nonce
	message := s.bare + "," + challenge + "," + unproven
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := make([]byte, len(key))
	subtle.XORBytes(proof, key, mac(stored[:], message))
	s.signature = mac(mac(salted, "Server Key"), message)
	return unproven + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// parseChallenge parses "r=NONCE,s=SALT,i=ITERATIONS".
func parseChallenge(text string) (nonce string, salt []byte, iterations int, ok bool) {
	fields := strings.Split(text, ",")
	if len(fields) < 3 || !strings.HasPrefix(fields[0], "r=") || !strings.HasPrefix(fields[1], "s=") || !strings.HasPrefix(fields[2], "i=") {
		return "", nil, 0, false
	}
	salt, err := base64.StdEncoding.DecodeString(fields[1][2:])
	if err != nil || len(salt) == 0 {
		return "", nil, 0, false
	}
	iterations, err = strconv.Atoi(fields[2][2:])
	if err != nil || iterations < 1 || iterations > maxIterations {
		return "", nil, 0, false
	}
	return fields[0][2:], salt, iterations, true
}

// verify checks that the server knows the password too.
func (s *scram) verify(message string) error {
	signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(message, "v="))
	if err != nil || !hmac.Equal(signature, s.signature) {
		return fault.New(fault.Permission, "the server has not proved that it knows the password")
	}
	return nil
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
