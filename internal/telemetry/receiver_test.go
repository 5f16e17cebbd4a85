package telemetry_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // the server's side of compression
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP receiver on loopback that keeps what it is sent.
type receiver struct {
	coltracepb.UnimplementedTraceServiceServer
	endpoint string
	// answer, when set, is called before a request is answered: it may block, and its error is the answer. Over HTTP
	// the error is the status of type httpStatus.
	answer func(ctx context.Context) error
	// rejects is how many spans of each request a partial success refuses.
	rejects int64

	mu       sync.Mutex
	requests []*coltracepb.ExportTraceServiceRequest
	headers  []map[string][]string
}

type httpStatus int

func (s httpStatus) Error() string { return http.StatusText(int(s)) }

// spans returns all spans received, in order.
func (r *receiver) spans() []*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var spans []*tracepb.Span
	for _, request := range r.requests {
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				spans = append(spans, scope.GetSpans()...)
			}
		}
	}
	return spans
}

// names returns the sorted names of all spans received.
func (r *receiver) names() []string {
	var names []string
	for _, span := range r.spans() {
		names = append(names, span.GetName())
	}
	slices.Sort(names)
	return names
}

func (r *receiver) receive(ctx context.Context, request *coltracepb.ExportTraceServiceRequest, headers map[string][]string) (*coltracepb.ExportTraceServiceResponse, error) {
	if r.answer != nil {
		if err := r.answer(ctx); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, request)
	r.headers = append(r.headers, headers)
	response := new(coltracepb.ExportTraceServiceResponse)
	if r.rejects > 0 {
		response.PartialSuccess = &coltracepb.ExportTracePartialSuccess{RejectedSpans: r.rejects, ErrorMessage: "too old"}
	}
	return response, nil
}

// Export implements the gRPC service.
func (r *receiver) Export(ctx context.Context, request *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	return r.receive(ctx, request, headers)
}

// ServeHTTP implements the HTTP service.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost || request.URL.Path != "/v1/traces" {
		http.Error(w, "only POST to /v1/traces", http.StatusMethodNotAllowed)
		return
	}
	body := io.Reader(request.Body)
	if request.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	content, err := io.ReadAll(body)
	export := new(coltracepb.ExportTraceServiceRequest)
	if err == nil {
		err = proto.Unmarshal(content, export)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := r.receive(request.Context(), export, request.Header)
	if code, ok := err.(httpStatus); ok {
		http.Error(w, err.Error(), int(code))
		return
	}
	content, err = proto.Marshal(response)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(content)
}

// protocols are the two ways to a receiver.
var protocols = []string{"grpc", "http/protobuf"}

// serve starts r by the given protocol; config is that of TLS, or nil.
func serve(t *testing.T, r *receiver, protocol string, config *tls.Config) *receiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, r, protocol, config, listener)
	return r
}

func serveOn(t *testing.T, r *receiver, protocol string, config *tls.Config, listener net.Listener) {
	t.Helper()
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	r.endpoint = fmt.Sprintf("%s://%s", scheme, listener.Addr())
	if protocol == "grpc" {
		var options []grpc.ServerOption
		if config != nil {
			options = append(options, grpc.Creds(credentials.NewTLS(config)))
		}
		server := grpc.NewServer(options...)
		coltracepb.RegisterTraceServiceServer(server, r)
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(listener) }()
		t.Cleanup(func() { server.Stop(); <-served })
		return
	}
	server := httptest.NewUnstartedServer(r)
	_ = server.Listener.Close()
	server.Listener = listener
	if config != nil {
		server.TLS = config
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
}
