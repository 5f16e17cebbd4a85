package waitfor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// mysqlQuery holds what a mysql target may ask for.
var mysqlQuery = map[string]func(string) bool{"tls": isSecurity}

// lookMySQL shakes hands as https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html has
// it, and logs in if there is a password.
//
// Without one it tries to log in all the same and takes the refusal for the answer of a server that is there, as
// mysqladmin ping does. To hang up after the server's hello would be counted as a broken handshake, and after a hundred
// of those (max_connect_errors) a server blocks the host.
func lookMySQL(ctx context.Context, e *eye, t target) error {
	conn, err := e.dial(ctx, "tcp", t.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	m := &mysql{
		Conn: conn, r: bufio.NewReader(conn),
		user: e.user(t, "slipway"), password: e.password, database: t.under(), security: e.security(t, "tls"),
	}
	if m.password == "" {
		m.database = "" // it would not be looked at before the refusal
	}
	packet, err := m.read()
	if err != nil {
		return err
	}
	hello, err := m.parseHello(packet)
	if err != nil {
		return err
	}
	if m.security != disable {
		if err := m.upgrade(ctx, e, t, hello); err != nil {
			return err
		}
	}
	return m.login(hello)
}

// The capabilities that are asked for.
const (
	withDatabase = 1 << 3
	withTLS      = 1 << 11
	withPlugins  = 1 << 19
	// Long passwords, protocol 4.1, transactions, and the secure authentication of 4.1.
	withBasics = 1<<0 | 1<<9 | 1<<13 | 1<<15
)

// mysql is a connection that speaks MySQL's protocol.
type mysql struct {
	net.Conn
	r                        *bufio.Reader
	user, password, database string
	security                 security
	sequence                 byte
	capabilities             uint32
}

// hello is the server's first packet, Protocol::HandshakeV10.
type hello struct {
	capabilities uint32
	scramble     []byte // 20 bytes
	plugin       string
}

// parseHello parses the first packet, which may be an error: too many connections, a blocked host.
func (m *mysql) parseHello(packet []byte) (hello, error) {
	if packet[0] == 0xff {
		return hello{}, m.refused(packet)
	}
	h, ok := parseHello(packet)
	if !ok {
		return hello{}, errMySQL
	}
	return h, nil
}

var errMySQL = fault.New(fault.Unsupported, "the answer is not of MySQL")

// parseHello parses Protocol::HandshakeV10: version, text up to a NUL, thread id, 8 bytes of scramble, NUL,
// capabilities (low), character set, status, capabilities (high), length of the scramble, 10 bytes, the rest of the
// scramble, NUL, plugin, NUL.
func parseHello(packet []byte) (hello, bool) {
	if len(packet) == 0 || packet[0] != 10 {
		return hello{}, false
	}
	_, rest, ok := bytes.Cut(packet[1:], []byte{0})
	const fixed = 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10
	if !ok || len(rest) < fixed+12 {
		return hello{}, false
	}
	h := hello{
		capabilities: uint32(binary.LittleEndian.Uint16(rest[13:])) | uint32(binary.LittleEndian.Uint16(rest[18:]))<<16,
		scramble:     append(bytes.Clone(rest[4:12]), rest[fixed:fixed+12]...),
		plugin:       nativePassword,
	}
	if h.capabilities&withPlugins != 0 && len(rest) > fixed+13 {
		name, _, _ := bytes.Cut(rest[fixed+13:], []byte{0})
		h.plugin = string(name)
	}
	return h, true
}

// upgrade begins TLS.
func (m *mysql) upgrade(ctx context.Context, e *eye, t target, h hello) error {
	if h.capabilities&withTLS == 0 {
		if m.security == prefer {
			return nil
		}
		return fault.Hint(fault.New(fault.Unsupported, "the server speaks no TLS"), "tls=disable in the target does without")
	}
	m.capabilities |= withTLS
	if err := m.write(m.response(h)[:32]); err != nil {
		return err
	}
	secured, err := e.upgrade(ctx, m.Conn, t, m.security)
	if err != nil {
		return err
	}
	m.Conn, m.r = secured, bufio.NewReader(secured)
	return nil
}

// response returns Protocol::HandshakeResponse41 without the user and what follows, which is Protocol::SSLRequest.
func (m *mysql) response(h hello) []byte {
	m.capabilities |= withBasics | h.capabilities&withPlugins
	if m.database != "" {
		m.capabilities |= withDatabase
	}
	packet := binary.LittleEndian.AppendUint32(nil, m.capabilities)
	packet = binary.LittleEndian.AppendUint32(packet, maxMessage)
	const utf8mb4 = 45
	return append(append(packet, utf8mb4), make([]byte, 23)...)
}

// login sends user and proof, and answers until the server says yes or no.
func (m *mysql) login(h hello) error {
	proof, err := m.prove(h.plugin, h.scramble)
	if err != nil {
		// The server's default plugin is not the user's: let it say which one is.
		h.plugin, proof = nativePassword, nil
	}
	packet := append(append(m.response(h), m.user...), 0)
	packet = append(append(packet, byte(len(proof))), proof...)
	if m.database != "" {
		packet = append(append(packet, m.database...), 0)
	}
	if h.capabilities&withPlugins != 0 {
		packet = append(append(packet, h.plugin...), 0)
	}
	if err := m.write(packet); err != nil {
		return err
	}
	plugin, scramble := h.plugin, h.scramble
	// A login takes four answers at most: switch, ask for more, key, verdict.
	for range 8 {
		packet, err := m.read()
		if err != nil {
			return err
		}
		switch packet[0] {
		case 0x00:
			return m.quit()
		case 0xff:
			return m.refused(packet)
		case 0xfe:
			plugin, scramble = parseSwitch(packet)
			proof, err := m.prove(plugin, scramble)
			if err != nil {
				return m.forgiven(err)
			}
			if err := m.write(proof); err != nil {
				return err
			}
		case 0x01:
			if err := m.more(packet[1:], plugin, scramble); err != nil {
				return err
			}
		default:
			return errMySQL
		}
	}
	return errMySQL
}

// forgiven returns nil if there is no password: a server that asks for a login which is not known here has answered.
func (m *mysql) forgiven(err error) error {
	if m.password == "" {
		return nil
	}
	return err
}

// parseSwitch parses Protocol::AuthSwitchRequest: plugin, NUL, scramble, NUL.
func parseSwitch(packet []byte) (plugin string, scramble []byte) {
	name, data, _ := bytes.Cut(packet[1:], []byte{0})
	return string(name), bytes.TrimSuffix(data, []byte{0})
}

// The ways to log in that are known.
const (
	nativePassword = "mysql_native_password"
	cachingSHA2    = "caching_sha2_password"
	clearPassword  = "mysql_clear_password"
)

// prove returns what proves to the plugin that the password is known. An empty password is proved by nothing.
func (m *mysql) prove(plugin string, scramble []byte) ([]byte, error) {
	switch {
	case plugin == clearPassword && (m.security != verifyFull || !m.isSecure()):
		return nil, fault.Hint(fault.New(fault.Permission, "the server asks for the password in clear text"),
			"tls=verify-full in the target protects it")
	case plugin == clearPassword:
		return append([]byte(m.password), 0), nil
	case plugin != nativePassword && plugin != cachingSHA2:
		return nil, fault.New(fault.Unsupported, "the server asks for a login by %q, which is not known here", printable(plugin))
	case m.password == "":
		return nil, nil
	case plugin == nativePassword:
		return nativeProof(m.password, scramble), nil
	}
	return sha2Proof(m.password, scramble), nil
}

// nativeProof is SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password))).
func nativeProof(password string, scramble []byte) []byte {
	once := sha1.Sum([]byte(password))
	twice := sha1.Sum(once[:])
	mask := sha1.Sum(append(bytes.Clone(scramble), twice[:]...))
	subtle.XORBytes(once[:], once[:], mask[:])
	return once[:]
}

// sha2Proof is SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble).
func sha2Proof(password string, scramble []byte) []byte {
	once := sha256.Sum256([]byte(password))
	twice := sha256.Sum256(once[:])
	mask := sha256.Sum256(append(twice[:], scramble...))
	subtle.XORBytes(once[:], once[:], mask[:])
	return once[:]
}

// more answers Protocol::AuthMoreData of caching_sha2_password: 3 says that the proof was enough, 4 that the server has
// forgotten the password and needs it whole, and anything else is its public key.
func (m *mysql) more(data []byte, plugin string, scramble []byte) error {
	switch {
	case plugin != cachingSHA2:
		return errMySQL
	case bytes.Equal(data, []byte{3}):
		return nil
	case bytes.Equal(data, []byte{4}) && m.isSecure():
		return m.write(append([]byte(m.password), 0))
	case bytes.Equal(data, []byte{4}):
		return m.write([]byte{2}) // ask for the key
	}
	sealed, err := seal(data, m.password, scramble)
	if err != nil {
		return err
	}
	return m.write(sealed)
}

// seal encrypts the password, mixed with the scramble, for the server's key. Nothing tells whose key that is; only
// tls=verify-full would.
func seal(key []byte, password string, scramble []byte) ([]byte, error) {
	block, _ := pem.Decode(key)
	if block == nil || len(scramble) == 0 {
		return nil, errMySQL
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errMySQL
	}
	usable, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil, errMySQL
	}
	plain := append([]byte(password), 0)
	for i := range plain {
		plain[i] ^= scramble[i%len(scramble)]
	}
	sealed, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, usable, plain, nil)
	if err != nil {
		return nil, fault.New(fault.Unsupported, "encrypt the password for the server's key: %w", err)
	}
	return sealed, nil
}

func (m *mysql) isSecure() bool {
	_, secured := m.Conn.(*tls.Conn)
	return secured
}

// quit says goodbye, so that the server's log holds no broken connection.
func (m *mysql) quit() error {
	m.sequence = 0
	return m.write([]byte{1})
}

// refused judges an error packet by its number, of those that
// https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html lists.
func (m *mysql) refused(packet []byte) error {
	code, message := parseMySQLError(packet)
	text := fmt.Sprintf("%s (error %d)", printable(message), code)
	switch code {
	case 1044, 1045, 1698, 1251, 1275, 3118, 3159, 4151: // denied, for one of many reasons
		return m.forgiven(fault.Hint(fault.New(fault.Permission, "%s", text), "check --username, --password-from and the user's grants"))
	case 1129, 1130: // this host is blocked, or may not connect
		return fault.New(fault.Permission, "%s", text)
	}
	return fault.New(fault.Unavailable, "%s", text) // 1040: too many connections; 1053: shutting down; 1049: no such database
}

// parseMySQLError parses ERR_Packet: 0xff, number, "#" and SQLSTATE (not before the handshake), message.
func parseMySQLError(packet []byte) (code uint16, message string) {
	if len(packet) < 3 {
		return 0, "an error that it does not name"
	}
	message = string(packet[3:])
	if strings.HasPrefix(message, "#") && len(message) >= 6 {
		message = message[6:]
	}
	return binary.LittleEndian.Uint16(packet[1:]), message
}

// write sends one packet: 3 bytes of length, its number in the exchange, its body.
func (m *mysql) write(body []byte) error {
	size := len(body)
	packet := append([]byte{byte(size), byte(size >> 8), byte(size >> 16), m.sequence}, body...)
	m.sequence++
	if _, err := m.Conn.Write(packet); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// read receives one packet of at least one byte.
func (m *mysql) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(m.r, head[:]); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size == 0 || size > maxMessage {
		return nil, errMySQL
	}
	m.sequence = head[3] + 1
	packet := make([]byte, size)
	if _, err := io.ReadFull(m.r, packet); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	return packet, nil
}
