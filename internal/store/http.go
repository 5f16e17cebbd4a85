package store

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// TLS is how a connection to a store is secured, by the files that its variables name.
type TLS struct {
	CAFile     string // PEM; of authorities instead of the system's
	CertFile   string // PEM; the client's certificate, with KeyFile
	KeyFile    string // PEM
	ServerName string // the name that the server's certificate must have, instead of the host's
	Insecure   bool   // take any certificate
}

// maxPEM bounds a file of certificates or a key, in bytes. A bundle of all public authorities has about 220 KiB.
const maxPEM = 1 << 20

// Client returns the env's client with t. A file that is not what it should be is Data.
func Client(env *step.Env, t TLS) (*http.Client, error) {
	if t == (TLS{}) {
		return env.HTTP, nil
	}
	config := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.Insecure, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		text, err := readFile(env, t.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fault.New(fault.Data, "read %s: it has no certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, fault.New(fault.Data, "a client certificate needs a file for its key, and a key one for its certificate")
	}
	if t.CertFile != "" {
		certificate, err := readFile(env, t.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := readFile(env, t.KeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, fault.New(fault.Data, "%s and %s are no certificate and its key", t.CertFile, t.KeyFile)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return httpx.Derive(env.HTTP, func(transport *http.Transport) { transport.TLSClientConfig = config }), nil
}

func readFile(env *step.Env, path string) ([]byte, error) {
	f, err := os.OpenFile(env.Path(filepath.Clean(path)), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, errors.Unwrap(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxPEM {
		return nil, fault.New(fault.Data, "read %s: it is over %d bytes", path, maxPEM)
	}
	return text, nil
}

// Secret returns the content of a file with a token, without the line feed at its end.
func Secret(env *step.Env, path string) (string, error) {
	text, err := readFile(env, path)
	return strings.TrimRight(string(text), "\r\n"), err
}

// Do sends request and returns status and body of the answer, of at most MaxBytes.
func Do(client *http.Client, request *http.Request) (int, []byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, unwrapped(request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxBytes+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer of %s: %w", request.URL.Host, err)
	}
	if len(body) > MaxBytes {
		return 0, nil, fault.New(fault.Data, "the answer of %s is over %d bytes", request.URL.Host, MaxBytes)
	}
	return response.StatusCode, body, nil
}

// unwrapped takes the URL from the front of err: its query may say more than the error needs.
func unwrapped(request *http.Request, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return err // it names the address
	}
	return fmt.Errorf("ask %s: %w", request.URL.Host, err)
}

// StatusKind returns the kind of a refusal by HTTP's status.
func StatusKind(status int) fault.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Permission
	case status == http.StatusNotFound:
		return fault.NoInput
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return fault.Temporary
	}
	return fault.Data
}

// Says returns what a server said, as the end of an error: one line of at most 200 bytes, ": Permission denied". It is
// empty for what is no text.
func Says(body []byte) string {
	const most = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), most)]), "")), " ")
	if text == "" || slices.ContainsFunc([]rune(text), func(r rune) bool { return r < ' ' }) {
		return ""
	}
	return ": " + text
}

// Field returns the value of a key of a JSON object, as a template prints it: a text as it is, all else as JSON. The
// error names the keys that are there, never what they hold.
func Field(object, field string) (string, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(object), &fields) != nil || fields == nil {
		return "", fault.New(fault.Data, "it is no JSON object, so it has no key %s", field)
	}
	raw, ok := fields[field]
	if !ok {
		names := make([]string, 0, len(fields))
		for name := range fields {
			names = append(names, name)
		}
		return "", fault.New(fault.Data, "it has no key %s%s", field, Beside(names))
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if string(raw) == "null" {
			return "", fault.New(fault.Data, "its key %s is null", field)
		}
		return text, nil
	}
	return string(raw), nil
}
