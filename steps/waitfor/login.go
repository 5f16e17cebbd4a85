package waitfor

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
)

// maxMessage bounds a message of a database server, in bytes: before and during a login they are short.
const maxMessage = 64 << 10

// user returns the user that the target names, else --username, else the fallback.
func (e *eye) user(t target, fallback string) string {
	if name := t.User.Username(); name != "" {
		return name
	}
	if e.username != "" {
		return e.username
	}
	return fallback
}

// security is how much TLS a database connection has. The words are libpq's.
type security string

const (
	disable    security = "disable"     // no TLS
	prefer     security = "prefer"      // TLS if the server offers it, with any certificate
	require    security = "require"     // TLS with any certificate
	verifyFull security = "verify-full" // TLS with a certificate that is trusted and has the server's name
)

// securities holds what a target may say: libpq's words, and those of Go's driver for MySQL.
var securities = map[string]security{
	"disable": disable, "prefer": prefer, "require": require, "verify-full": verifyFull,
	"false": disable, "preferred": prefer, "skip-verify": require, "true": verifyFull,
}

func isSecurity(value string) bool { _, known := securities[value]; return known }

// security returns what the target says under key. What it does not say is prefer, as with libpq and MySQL's own
// client, but verify-full when the options say whom to trust.
func (e *eye) security(t target, key string) security {
	if given := t.Query().Get(key); given != "" {
		return securities[given]
	}
	if e.caFile != "" || e.serverName != "" || e.minValidity > 0 {
		return verifyFull
	}
	return prefer
}

// upgrade shakes hands over a connection to a database whose server has agreed to TLS.
func (e *eye) upgrade(ctx context.Context, conn net.Conn, t target, s security) (net.Conn, error) {
	config := e.tlsFor(t.host())
	if s != verifyFull {
		config.InsecureSkipVerify = true
	}
	return handshake(ctx, conn, config)
}

// private reports whether a password may be sent over conn as it is: over TLS, to this machine, or where the target
// says in so many words that there is to be no TLS. Otherwise whoever sits between could say that the server has no
// TLS and ask for the password.
func private(conn net.Conn, s security) bool {
	if _, secured := conn.(*tls.Conn); secured || s == disable {
		return true
	}
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
