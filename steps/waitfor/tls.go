package waitfor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// lookTLS shakes hands, which verifies the certificate's chain, name and dates.
func lookTLS(ctx context.Context, e *eye, t target) error {
	conn, err := e.dial(ctx, "tcp", t.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = e.secure(ctx, conn, t.host())
	return err
}

// secure shakes hands over conn with the server of that name.
func (e *eye) secure(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	return handshake(ctx, conn, e.tlsFor(host))
}

// tlsFor returns the TLS configuration for the server of that name.
func (e *eye) tlsFor(host string) *tls.Config {
	config := e.tls.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	return config
}

func handshake(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secured, nil
}

// tlsConfig returns the configuration that the options describe, with the files that they name.
func (s *waitFor) tlsConfig(env *step.Env) (*tls.Config, error) {
	config, err := httpx.TLS{
		CAFile: s.caFile, CertFile: s.certFile, KeyFile: s.keyFile, ServerName: s.serverName, Insecure: s.insecure,
	}.Config(env)
	if err != nil {
		return nil, err
	}
	if s.minValidity > 0 {
		config.VerifyConnection = func(state tls.ConnectionState) error { return validFor(state, time.Now().Add(s.minValidity)) }
	}
	return config, nil
}

// validFor returns an error unless some verified chain is valid still at that time. Without verification the server's
// own certificate is all there is to judge.
func validFor(state tls.ConnectionState, until time.Time) error {
	chains := state.VerifiedChains
	if len(chains) == 0 {
		chains = [][]*x509.Certificate{state.PeerCertificates[:1]}
	}
	var latest time.Time
	for _, chain := range chains {
		first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
		if first.NotAfter.After(latest) {
			latest = first.NotAfter
		}
	}
	if latest.Before(until) {
		return fault.New(fault.Unavailable, "the certificate expires on %s, before %s",
			latest.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	return nil
}
