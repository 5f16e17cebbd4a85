package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	mathrand "math/rand/v2"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// How long the servers let slipway wait, from their start.
const (
	databaseDelay   = 1200 * time.Millisecond
	aggregatorDelay = 1500 * time.Millisecond
	featuresDelay   = 900 * time.Millisecond
)

// server is a server of the demo. Start starts it and returns the target that wait-for takes, and what to say about it;
// the server ends with the stage.
type server struct {
	name  string
	start func(ctx context.Context, s *stage) (target, about string, err error)
}

// slowPort is a TCP port that opens late.
func slowPort(_ context.Context, s *stage) (target, about string, err error) {
	address, err := freeAddress()
	s.later(databaseDelay, func() error {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		s.atEnd(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		return nil
	})
	return "tcp://" + address, fmt.Sprintf("a port that opens after %s", databaseDelay), err
}

// healthPage is a web server that is up at once, and healthy later.
func healthPage(_ context.Context, s *stage) (target, about string, err error) {
	var healthy atomic.Bool
	s.later(aggregatorDelay, func() error { healthy.Store(true); return nil })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if !healthy.Load() {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	address, err := s.serveHTTP(mux, nil)
	return "http://" + address + "/health", fmt.Sprintf("status 503, and 200 after %s", aggregatorDelay), err
}

// secretStore is a TLS server with a certificate of an authority of its own, which is left in ca.pem.
func secretStore(_ context.Context, s *stage) (target, about string, err error) {
	authority, certificate, err := mint()
	if err != nil {
		return "", "", err
	}
	if err := os.WriteFile(s.path("ca.pem"), authority, 0o644); err != nil {
		return "", "", err
	}
	address, err := s.serveHTTP(http.NotFoundHandler(), &tls.Config{Certificates: []tls.Certificate{certificate}})
	return "tls://" + address, "TLS with an authority of its own", err
}

// serveHTTP serves on a free port of loopback.
func (s *stage) serveHTTP(handler http.Handler, config *tls.Config) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address = listener.Addr().String()
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	// Its log would tell of every look that ends with the handshake.
	server := &http.Server{Handler: handler, ErrorLog: quiet, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	s.atEnd(func() { server.Close() })
	return address, nil
}

// healthService is a gRPC server with the standard health service.
func healthService(_ context.Context, s *stage) (target, about string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	status := health.NewServer()
	status.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	s.later(featuresDelay, func() error {
		status.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
		return nil
	})
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, status)
	go func() { _ = server.Serve(listener) }()
	s.atEnd(server.Stop)
	return "grpc://" + listener.Addr().String(), fmt.Sprintf("NOT_SERVING, and SERVING after %s", featuresDelay), nil
}

// freeAddress returns an address of loopback that nobody listens on. Its port is below those that the kernel gives to
// outgoing connections: a client that dials a closed port of that range again and again meets itself one day.
func freeAddress() (string, error) {
	var faults []error
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+mathrand.IntN(10_000)))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		return listener.Addr().String(), listener.Close()
	}
	return "", errors.Join(faults...)
}

// mint makes an authority, in PEM, and a certificate for 127.0.0.1 that it signed.
func mint() (authority []byte, certificate tls.Certificate, err error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true, // it signs itself: authority and server in one
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return authority, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
