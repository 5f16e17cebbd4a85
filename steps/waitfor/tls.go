package waitfor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// maxPEM bounds a file of certificates, in bytes. The bundle of a Linux distribution has about 220 KiB.
const maxPEM = 4 << 20

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
	config := &tls.Config{ServerName: s.serverName, InsecureSkipVerify: s.insecure, MinVersion: tls.VersionTLS12}
	if s.caFile != "" {
		bundle, err := readPEM(env, s.caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(bundle) {
			return nil, fault.New(fault.Data, "read %s: it holds no PEM certificate", s.caFile)
		}
	}
	if s.certFile != "" {
		cert, err := readPEM(env, s.certFile)
		if err != nil {
			return nil, err
		}
		key, err := readPEM(env, s.keyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fault.New(fault.Data, "read %s and %s: %w", s.certFile, s.keyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
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

// readPEM reads a file of the options' own.
func readPEM(env *step.Env, name string) ([]byte, error) {
	f, err := os.Open(env.Path(name))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, plainPath(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, plainPath(err))
	}
	if len(content) > maxPEM {
		return nil, fault.New(fault.Data, "read %s: over %d bytes", name, maxPEM)
	}
	return content, nil
}
