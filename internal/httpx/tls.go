package httpx

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// TLS is how a connection is secured, by the files that options or variables name. The zero value is the default: the
// system's authorities, and no certificate of the client's own.
type TLS struct {
	CAFile     string // PEM; of authorities instead of the system's
	CertFile   string // PEM; the client's certificate, with KeyFile
	KeyFile    string // PEM
	ServerName string // the name that the server's certificate must have, instead of the host's
	Insecure   bool   // take any certificate
}

// Config returns the configuration that t describes, of TLS 1.2 at least. A file that is not what it should be is Data.
func (t TLS) Config(env *step.Env) (*tls.Config, error) {
	config := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.Insecure, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		bundle, err := ReadFile(env, t.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(bundle) {
			return nil, fault.New(fault.Data, "read %s: it holds no PEM certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, fault.New(fault.Data, "a client certificate needs a file for its key, and a key one for its certificate")
	}
	if t.CertFile != "" {
		certificate, err := ReadFile(env, t.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := ReadFile(env, t.KeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, fault.New(fault.Data, "read %s and %s: %w", t.CertFile, t.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Client returns the env's client with t.
func (t TLS) Client(env *step.Env) (*http.Client, error) {
	if t == (TLS{}) {
		return env.HTTP, nil
	}
	config, err := t.Config(env)
	if err != nil {
		return nil, err
	}
	return Derive(env.HTTP, func(transport *http.Transport) { transport.TLSClientConfig = config }), nil
}

// maxFile bounds a file of certificates or with a token, in bytes. A bundle of all public authorities has about 220 KiB.
const maxFile = 4 << 20

// ReadFile reads a small file that an option or a variable names: certificates, a key, a token. It does not wait for a
// writer if it is a pipe.
func ReadFile(env *step.Env, name string) ([]byte, error) {
	f, err := os.OpenFile(env.Path(filepath.Clean(name)), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, fault.Cause(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, fault.Cause(err))
	}
	if len(content) > maxFile {
		return nil, fault.New(fault.Data, "read %s: over %d bytes", name, maxFile)
	}
	return content, nil
}

// ReadToken reads a file with a token, without the line feed at its end.
func ReadToken(env *step.Env, name string) (string, error) {
	content, err := ReadFile(env, name)
	return strings.TrimRight(string(content), "\r\n"), err
}
