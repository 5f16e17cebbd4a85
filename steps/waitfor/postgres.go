package waitfor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// postgresQuery holds what a postgres target may ask for.
var postgresQuery = map[string]func(string) bool{"sslmode": isSecurity}

// lookPostgres says hello as https://www.postgresql.org/docs/current/protocol-flow.html has it, and logs in if there is
// a password. Without one, a server that asks for one is there, as pg_isready has it: it takes connections.
func lookPostgres(ctx context.Context, e *eye, t target) error {
	conn, err := e.dial(ctx, "tcp", t.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	s := e.security(t, "sslmode")
	if s != disable {
		if conn, err = e.upgradePostgres(ctx, conn, t, s); err != nil {
			return err
		}
	}
	p := &postgres{
		Conn: conn, r: bufio.NewReader(conn),
		user: e.user(t, "postgres"), password: e.password, database: t.under(), private: private(conn, s),
	}
	return p.login()
}

// sslRequest asks whether the server speaks TLS. It answers S or N in one byte.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// upgradePostgres asks for TLS and begins it.
func (e *eye) upgradePostgres(ctx context.Context, conn net.Conn, t target, s security) (net.Conn, error) {
	if _, err := conn.Write(sslRequest); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	// One byte and not a buffer: what came behind it unencrypted would be taken for the server's.
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	switch {
	case answer[0] == 'S':
		return e.upgrade(ctx, conn, t, s)
	case answer[0] == 'N' && s == prefer:
		return conn, nil
	case answer[0] == 'N':
		return nil, fault.Hint(fault.New(fault.Unsupported, "the server speaks no TLS"), "sslmode=disable in the target does without")
	case answer[0] == 'E': // a server that cannot even fork a process
		return nil, fault.New(fault.Unavailable, "the server refuses to talk")
	}
	return nil, fault.New(fault.Unsupported, "the answer is not of PostgreSQL")
}

// postgres is a connection that speaks version 3 of PostgreSQL's protocol.
type postgres struct {
	net.Conn
	r                        *bufio.Reader
	user, password, database string
	private                  bool // the password may be sent as it is
}

// The kinds of authentication request that are known.
const (
	authOK        = 0
	authCleartext = 3
	authMD5       = 5
	authSASL      = 10
)

// login sends the startup message and answers until the server is ready for a query.
func (p *postgres) login() error {
	if err := p.write(0, p.startup()); err != nil {
		return err
	}
	for {
		kind, body, err := p.read()
		if err != nil {
			return err
		}
		switch kind {
		case 'R':
			if p.password == "" && !bytes.Equal(body, []byte{0, 0, 0, authOK}) {
				return nil // it asks who is there
			}
			if err := p.authenticate(body); err != nil {
				return err
			}
		case 'E':
			return p.refused(body)
		case 'Z': // ready for a query
			return p.write('X', nil) // so that the server's log holds no broken connection
		case 'S', 'K', 'N', 'v': // a parameter, a key, a notice, a version
		default:
			return fault.New(fault.Unsupported, "the answer is not of PostgreSQL")
		}
	}
}

// startup returns the startup message's body.
func (p *postgres) startup() []byte {
	body := []byte{0, 3, 0, 0}
	for _, word := range []string{"user", p.user, "application_name", "slipway"} {
		body = append(append(body, word...), 0)
	}
	if p.database != "" {
		body = append(append(append(body, "database\x00"...), p.database...), 0)
	}
	return append(body, 0)
}

// authenticate answers one authentication request.
func (p *postgres) authenticate(body []byte) error {
	if len(body) < 4 {
		return errPostgres
	}
	kind, rest := binary.BigEndian.Uint32(body), body[4:]
	switch kind {
	case authOK:
		return nil
	case authCleartext:
		if !p.private {
			return fault.Hint(fault.New(fault.Permission, "the server asks for the password in clear text over a connection without TLS"),
				"sslmode=verify-full in the target protects it, sslmode=disable sends it as it is")
		}
		return p.write('p', append([]byte(p.password), 0))
	case authMD5:
		if len(rest) != 4 {
			return errPostgres
		}
		return p.write('p', append([]byte(md5Password(p.user, p.password, rest)), 0))
	case authSASL:
		return p.scram(rest)
	}
	return fault.New(fault.Unsupported, "the server asks for authentication of kind %d, which is not known here", kind)
}

// md5Password returns "md5" and the hash of the salt and of the hash of password and user.
func md5Password(user, password string, salt []byte) string {
	inner := md5.Sum([]byte(password + user))
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt...))
	return "md5" + hex.EncodeToString(outer[:])
}

// scram logs in by SCRAM-SHA-256. The mechanisms stand in body with a NUL behind each.
func (p *postgres) scram(body []byte) error {
	if mechanisms := strings.Split(string(body), "\x00"); !slices.Contains(mechanisms, scramMechanism) {
		return fault.New(fault.Unsupported, "the server does not take %s", scramMechanism)
	}
	s := newScram(p.password)
	first := s.first()
	message := append([]byte(scramMechanism), 0)
	message = binary.BigEndian.AppendUint32(message, uint32(len(first)))
	if err := p.write('p', append(message, first...)); err != nil {
		return err
	}
	challenge, err := p.sasl(11)
	if err != nil {
		return err
	}
	final, err := s.final(challenge)
	if err != nil {
		return err
	}
	if err := p.write('p', []byte(final)); err != nil {
		return err
	}
	proof, err := p.sasl(12)
	if err != nil {
		return err
	}
	return s.verify(proof)
}

// sasl reads a message of the SASL exchange: 11 continues it and 12 ends it.
func (p *postgres) sasl(want uint32) (string, error) {
	kind, body, err := p.read()
	if err != nil {
		return "", err
	}
	if kind == 'E' {
		return "", p.refused(body)
	}
	if kind != 'R' || len(body) < 4 || binary.BigEndian.Uint32(body) != want {
		return "", errPostgres
	}
	return string(body[4:]), nil
}

var errPostgres = fault.New(fault.Unsupported, "the answer is not one that PostgreSQL's protocol allows")

// refused judges an error of the server by its SQLSTATE.
func (p *postgres) refused(body []byte) error {
	code, message := parsePostgresError(body)
	text := fmt.Sprintf("%s (SQLSTATE %s)", printable(message), printable(code))
	switch {
	case strings.HasPrefix(code, "28") && p.password == "":
		return nil // it takes connections, and would not take this one
	case code == "3D000" && p.database == "":
		return nil // the user's own database, which nobody asked for
	case strings.HasPrefix(code, "28"):
		return fault.Hint(fault.New(fault.Permission, "%s", text), "check --username, --password-from and the server's pg_hba.conf")
	case code == "42501":
		return fault.New(fault.Permission, "%s", text)
	}
	return fault.New(fault.Unavailable, "%s", text) // 57P03: starting up; 53300: too many clients; 3D000: no such database
}

// parsePostgresError returns SQLSTATE and message of an error's body: fields of one letter and text up to a NUL.
func parsePostgresError(body []byte) (code, message string) {
	for len(body) > 1 {
		value, rest, ok := bytes.Cut(body[1:], []byte{0})
		if !ok {
			break
		}
		switch body[0] {
		case 'C':
			code = string(value)
		case 'M':
			message = string(value)
		}
		body = rest
	}
	return code, message
}

// write sends one message; kind 0 is the startup message, which has none.
func (p *postgres) write(kind byte, body []byte) error {
	var message []byte
	if kind != 0 {
		message = append(message, kind)
	}
	message = binary.BigEndian.AppendUint32(message, uint32(len(body)+4))
	if _, err := p.Conn.Write(append(message, body...)); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// read receives one message.
func (p *postgres) read() (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("log in: %w", err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxMessage {
		return 0, nil, fault.New(fault.Unsupported, "the answer is not of PostgreSQL")
	}
	body = make([]byte, size-4)
	if _, err := io.ReadFull(p.r, body); err != nil {
		return 0, nil, fmt.Errorf("log in: %w", err)
	}
	return head[0], body, nil
}
