package servers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Collector is an OpenTelemetry Collector that receives OTLP and writes what it received to a file.
type Collector struct {
	*Server
	GRPC, HTTP string // endpoints, as OTEL_EXPORTER_OTLP_ENDPOINT takes them

	traces string
}

// StartCollector starts a collector.
func StartCollector(t testing.TB) *Collector {
	t.Helper()
	dir := Dir(t)
	grpcPort, httpPort := FreePort(t), FreePort(t)
	c := &Collector{
		GRPC:   "http://127.0.0.1:" + grpcPort,
		HTTP:   "http://127.0.0.1:" + httpPort,
		traces: filepath.Join(dir, "traces.jsonl"),
	}
	config := filepath.Join(dir, "config.yaml")
	writeFile(t, config, lines(
		"receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:"+grpcPort+"}, http: {endpoint: 127.0.0.1:"+httpPort+"}}}}",
		"exporters: {file: {path: "+c.traces+", flush_interval: 20ms}}",
		"service:",
		"  telemetry: {metrics: {level: none}, logs: {level: warn}}",
		"  pipelines: {traces: {receivers: [otlp], exporters: [file]}}",
	), 0o644)
	c.Server = start(t, spec{dir: dir, args: []string{tools.Built(t, "otelcol"), "--config", config}})
	c.awaitPort(t, grpcPort)
	c.awaitPort(t, httpPort)
	return c
}

// Received stops the collector, so that it has written everything, and returns the requests that it received: each one
// an ExportTraceServiceRequest in OTLP's JSON.
func (c *Collector) Received(t testing.TB) []string {
	t.Helper()
	c.Stop(t)
	content, err := os.ReadFile(c.traces)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}
