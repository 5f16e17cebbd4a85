package vault

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestSpansTellPathAndMountAlone(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	ctx, root := provider.Tracer("test").Start(context.Background(), "vault-render")
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	if _, err := s.Read(ctx, "secret/app", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(ctx, "pki/issue/web", map[string]any{"common_name": "a.example.test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(ctx, "secret/forbidden", nil); err == nil {
		t.Fatal("want an error")
	}
	p.close(s, true)
	root.End()
	got := map[string]map[string]string{}
	for _, span := range spans.GetSpans() {
		attributes := map[string]string{}
		for _, a := range span.Attributes {
			attributes[string(a.Key)] = a.Value.String()
		}
		if span.Status.Code == codes.Error {
			attributes["status"] = span.Status.Description
		}
		got[span.Name+" "+attributes["vault.path"]] = attributes
	}
	want := map[string]map[string]string{
		"vault-render ":              {},
		"vault.read secret/data/app": {"vault.path": "secret/data/app", "vault.mount": "secret/"},
		"vault.write pki/issue/web":  {"vault.path": "pki/issue/web", "vault.mount": "pki/"},
		"vault.read secret/data/forbidden": {
			"vault.path": "secret/data/forbidden", "vault.mount": "secret/", "error.type": "permission",
			"status": "read secret/data/forbidden: permission denied (403)",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}
