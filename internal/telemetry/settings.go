package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

// settings are those variables of https://opentelemetry.io/docs/specs/otel/protocol/exporter/ that decide whether and
// how a collector is reached. The SDK's exporters read the others (headers, compression) by themselves.
type settings struct {
	endpoint string // empty exports nothing
	protocol string // "grpc" or "http/protobuf"
	timeout  time.Duration
	tls      *tls.Config // nil is the system's
}

// parseSettings returns the settings, or a usage fault that names the variable at fault. It reads the files that
// they name.
func parseSettings(getenv func(string) string) (settings, error) {
	if strings.EqualFold(strings.TrimSpace(getenv("OTEL_SDK_DISABLED")), "true") {
		return settings{}, nil
	}
	if exports, err := exportsOTLP(getenv("OTEL_TRACES_EXPORTER")); err != nil || !exports {
		return settings{}, err
	}
	endpoint := signal(getenv, "ENDPOINT")
	if endpoint.value == "" {
		return settings{}, nil
	}
	s := settings{endpoint: endpoint.value, protocol: "http/protobuf", timeout: 10 * time.Second}
	switch protocol := signal(getenv, "PROTOCOL"); protocol.value {
	case "":
	case "grpc", "http/protobuf":
		s.protocol = protocol.value
	default:
		return settings{}, fault.New(fault.Usage, "%s: %q is neither grpc nor http/protobuf", protocol.name, protocol.value)
	}
	if s.protocol == "http/protobuf" && !isHTTP(s.endpoint) {
		return settings{}, fault.New(fault.Usage, "%s: want http://host:port or https://host:port", endpoint.name)
	}
	if timeout := signal(getenv, "TIMEOUT"); timeout.value != "" {
		n, err := strconv.Atoi(timeout.value)
		if err != nil || n < 0 {
			return settings{}, fault.New(fault.Usage, "%s: %q is not a number of milliseconds", timeout.name, timeout.value)
		}
		s.timeout = time.Duration(n) * time.Millisecond
	}
	var err error
	s.tls, err = parseTLS(getenv)
	return s, err
}

// exportsOTLP reads a list of exporters: otlp, which is the default, is the only one that slipway has.
func exportsOTLP(list string) (bool, error) {
	if strings.TrimSpace(list) == "" {
		return true, nil
	}
	otlp := false
	for name := range strings.SplitSeq(list, ",") {
		switch name = strings.TrimSpace(name); name {
		case "otlp":
			otlp = true
		case "none", "":
		default:
			return false, fault.New(fault.Usage, "OTEL_TRACES_EXPORTER: %q is neither otlp nor none", name)
		}
	}
	return otlp, nil
}

// variable is a variable of the environment with its value.
type variable struct{ name, value string }

// signal returns the variable of an OTLP exporter's setting: that for traces alone, or else that for all signals.
func signal(getenv func(string) string, setting string) variable {
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"} {
		if value := strings.TrimSpace(getenv(prefix + setting)); value != "" {
			return variable{prefix + setting, value}
		}
	}
	return variable{name: "OTEL_EXPORTER_OTLP_" + setting}
}

func isHTTP(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// parseTLS returns the CA and the client certificate that the environment names, nil for neither. The SDK would read
// them too, but goes on without a file that it cannot read.
func parseTLS(getenv func(string) string) (*tls.Config, error) {
	ca, certificate, key := signal(getenv, "CERTIFICATE"), signal(getenv, "CLIENT_CERTIFICATE"), signal(getenv, "CLIENT_KEY")
	if ca.value == "" && certificate.value == "" && key.value == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca.value != "" {
		pem, err := os.ReadFile(ca.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ca.name, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Data, "%s: no certificate in %s", ca.name, ca.value)
		}
	}
	switch {
	case certificate.value == "" && key.value == "":
	case certificate.value == "" || key.value == "":
		return nil, fault.New(fault.Usage, "%s and %s: one stands without the other", certificate.name, key.name)
	default:
		pair, err := tls.LoadX509KeyPair(certificate.value, key.value)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", certificate.name, key.name, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
