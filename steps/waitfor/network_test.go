package waitfor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

// authority is a CA of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate as PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-240 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := sign(t, template, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key = key
	write(t, a.file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return a
}

// sign returns a certificate and its new key; without a signer it signs itself.
func sign(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// server returns a certificate for the given names that is valid for the given time, which may be over.
func (a *authority) server(t *testing.T, valid time.Duration, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(valid),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, key := sign(t, template, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// files writes a certificate and its key as PEM.
func files(t *testing.T, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return certFile, keyFile
}

// listenTLS starts a listener that shakes hands and closes, and returns its address.
func listenTLS(t *testing.T, c tls.Certificate) string {
	return serve(t, func(conn net.Conn) { _ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}}).Handshake() })
}

// Whoever dials may know why a connection fails, such as another mesh's redirect: the text stays plain, and its hint is the
// one to follow.
func TestHintOfTheDialIsKept(t *testing.T) {
	runner := steptest.Runner(t.TempDir())
	runner.World.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:1")
		return conn, fault.Hint(err, "run as another user")
	}
	for _, target := range []string{"tcp://db:5432", "http://db:5432/"} {
		task := steptest.Task(t, Kind, steptest.Options{"target=" + target})
		task.Policy.Timeout = 100 * time.Millisecond
		result := runner.Run(t.Context(), &plan.Plan{Root: plan.Sequence{task}})
		if want := target + ": 127.0.0.1:1: connection refused"; result.Err == nil || !strings.HasSuffix(result.Err.Error(), want) {
			t.Errorf("got %v, want %s", result.Err, want)
		}
		if got := fault.HintOf(result.Err); got != "run as another user" {
			t.Errorf("%s: got the hint %q", target, got)
		}
	}
}

func TestCertificates(t *testing.T) {
	a := newAuthority(t)
	good := listenTLS(t, a.server(t, time.Hour, "127.0.0.1", "db.test"))
	expired := listenTLS(t, a.server(t, -time.Hour, "127.0.0.1"))
	other := listenTLS(t, a.server(t, time.Hour, "other.test"))
	ca := "ca-file=" + a.file
	for _, c := range []struct {
		options steptest.Options
		kind    fault.Kind
		text    string
	}{
		{steptest.Options{"target=tls://" + good, ca}, 0, ""},
		{steptest.Options{"target=tls://" + good, ca, "server-name=db.test"}, 0, ""},
		{steptest.Options{"target=tls://" + good, ca, "server-name=web.test"}, fault.Permission, "web.test"},
		{steptest.Options{"target=tls://" + good}, fault.Permission, "unknown authority"},
		{steptest.Options{"target=tls://" + good, "ca-file=" + newAuthority(t).file}, fault.Permission, "unknown authority"},
		{steptest.Options{"target=tls://" + good, "insecure-skip-tls-verify=true"}, 0, ""},
		{steptest.Options{"target=tls://" + good, ca, "min-validity=30m"}, 0, ""},
		{steptest.Options{"target=tls://" + good, ca, "min-validity=2h"}, fault.Unavailable, "the certificate expires on"},
		{steptest.Options{"target=tls://" + good, "insecure-skip-tls-verify=true", "min-validity=2h"}, fault.Unavailable, "the certificate expires on"},
		{steptest.Options{"target=tls://" + expired, ca}, fault.Unavailable, "expired"},
		{steptest.Options{"target=tls://" + other, ca}, fault.Permission, "certificate"},
	} {
		err := once(t, append(c.options, "fail-fast=true"))
		expect(t, err, c.kind, c.text)
		if c.kind == fault.Permission && fault.HintOf(err) == "" {
			t.Errorf("%v: got no hint", c.options)
		}
		if c.kind != 0 {
			expect(t, once(t, c.options), fault.Unavailable, c.text)
		}
	}
}

// pages starts a web server that answers each path with a status, and returns its URL.
func pages(t *testing.T, statuses map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(statuses[r.URL.Path])
		if err != nil {
			code = http.StatusNotFound
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// web answers with what the tests of HTTP ask for.
func web(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
		fmt.Fprint(w, `{"status":"green","components":[{"state":"up"}]}`)
	case "/moved":
		http.Redirect(w, r, "/health", http.StatusFound)
	case "/elsewhere":
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	case "/nowhere":
		w.Header().Set("Location", "http://app:hunter2@no where/?token=hunter2")
		w.WriteHeader(http.StatusFound)
	case "/wordy", "/wordier":
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		words := map[string]int{"/wordy": 10_000, "/wordier": 1 << 20}[r.URL.Path]
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 500 %s\r\n\r\n", strings.Repeat("x", words)) // the client hangs up on the long one
	case "/large":
		_, _ = w.Write(make([]byte, maxContent+1))
	case "/headers":
		if r.Method != http.MethodPut || r.Host != "app.test" || r.Header.Get("X-Two") != "2" || r.Header.Get("Authorization") != "Bearer hunter2" {
			w.WriteHeader(http.StatusBadRequest)
		}
	case "/version":
		fmt.Fprint(w, r.Proto)
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(web))
	t.Cleanup(server.Close)
	for _, c := range []struct {
		path    string
		options steptest.Options
		text    string
	}{
		{"/health", nil, ""},
		{"/health", steptest.Options{"status=201-299"}, "status 200 OK"},
		{"/down", nil, "status 503 Service Unavailable"},
		{"/down", steptest.Options{"status=200,500-599"}, ""},
		{"/down?token=hunter2", nil, "/down?…: status 503"},
		{"/moved", nil, ""},
		{"/moved", steptest.Options{"no-redirect=true"}, "status 302 Found"},
		{"/moved", steptest.Options{"no-redirect=true", "status=302"}, ""},
		{"/elsewhere", nil, "redirect to another host"},
		{"/nowhere", nil, "it redirects to what is not a URL"},
		{"/wordy", nil, "status 500 " + strings.Repeat("x", 252) + "…"},
		{"/wordier", nil, "server response headers exceeded 262144 bytes"},
		{"/health", steptest.Options{"body-regex=gr[e]{2}n"}, ""},
		{"/health", steptest.Options{"body-regex=yellow"}, "the body does not match yellow"},
		{"/health", steptest.Options{"json-path=$.components[0].state=up"}, ""},
		{"/health", steptest.Options{"json-path=status=red"}, `the body has "green" at status`},
		{"/large", nil, ""},
		{"/large", steptest.Options{"body-regex=x"}, "the body is over 1048576 bytes"},
		{"/headers", nil, "status 400"},
		{"/headers", steptest.Options{"method=PUT", "header=Host: app.test", "header=X-Two: 2", "header-from=authorization=Bearer env:TOKEN"}, ""},
	} {
		err := once(t, append(c.options, "target="+server.URL+c.path), "TOKEN=hunter2")
		expect(t, err, fault.Unavailable, c.text)
		if err != nil && strings.Contains(fault.Describe(err), "hunter2") {
			t.Errorf("%s: the error tells a secret: %v", c.path, err)
		}
	}
}

func TestHTTPSWithClientCertificate(t *testing.T) {
	a := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(web))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{a.server(t, time.Hour, "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	cert, key := files(t, a.server(t, time.Hour))
	options := steptest.Options{"target=" + server.URL + "/version", "ca-file=" + a.file, "body-regex=HTTP/2"}
	expect(t, once(t, append(options, "cert-file="+cert, "key-file="+key)), 0, "")
	// The refusal overtakes the handshake or not, so what it says differs.
	expect(t, once(t, options), fault.Unavailable, "/version: ")
}

// healthServer is a gRPC server with the health service.
type healthServer struct {
	*health.Server
	addr string
}

func startHealth(t *testing.T, certificate *tls.Certificate) healthServer {
	t.Helper()
	var options []grpc.ServerOption
	if certificate != nil {
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(certificate)))
	}
	server, status := grpc.NewServer(options...), health.NewServer()
	healthpb.RegisterHealthServer(server, status)
	return healthServer{status, startGRPC(t, server)}
}

func startGRPC(t *testing.T, server *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func TestGRPC(t *testing.T) {
	h := startHealth(t, nil)
	h.SetServingStatus("orders.Orders", healthpb.HealthCheckResponse_NOT_SERVING)
	target := "target=grpc://" + h.addr
	expect(t, once(t, steptest.Options{target}), 0, "")
	expect(t, once(t, steptest.Options{target + "/orders.Orders"}), fault.Unavailable, "is NOT_SERVING")
	expect(t, once(t, steptest.Options{target + "/orders.Orders", "not=true"}), 0, "")
	expect(t, once(t, steptest.Options{target + "/other"}), fault.Unavailable, `does not know the service "other"`)
	expect(t, once(t, steptest.Options{"target=grpc://" + refusing(t)}), fault.Unavailable, "connection refused")
	expect(t, once(t, steptest.Options{"target=grpc://" + startGRPC(t, grpc.NewServer()), "fail-fast=true"}), fault.Unsupported, "no grpc.health.v1")
}

func TestGRPCOverTLS(t *testing.T) {
	a := newAuthority(t)
	certificate := a.server(t, time.Hour, "127.0.0.1")
	h := startHealth(t, &certificate)
	expect(t, once(t, steptest.Options{"target=grpcs://" + h.addr, "ca-file=" + a.file}), 0, "")
	expect(t, once(t, steptest.Options{"target=grpcs://" + h.addr, "fail-fast=true"}), fault.Permission, "unknown authority")
	expect(t, once(t, steptest.Options{"target=grpcs://" + h.addr, "not=true"}), fault.Unavailable, "unknown authority")
}

func TestDatabasesOverTLS(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.server(t, time.Hour, "127.0.0.1")}}
	postgres := serve(t, func(c net.Conn) {
		request := make([]byte, len(sslRequest))
		if _, err := c.Read(request); err != nil || string(request) != string(sslRequest) {
			return // the client says goodbye
		}
		fmt.Fprint(c, "S")
		secured := tls.Server(c, config)
		if _, err := secured.Read(make([]byte, 1024)); err == nil {
			fmt.Fprint(secured, "R\x00\x00\x00\x08\x00\x00\x00\x03")
		}
	})
	redis := serve(t, func(c net.Conn) {
		secured := tls.Server(c, config)
		if _, err := secured.Read(make([]byte, 1024)); err == nil {
			fmt.Fprint(secured, "+PONG\r\n")
		}
	})
	ca, stranger := "ca-file="+a.file, "ca-file="+newAuthority(t).file
	for _, c := range []struct {
		options steptest.Options
		kind    fault.Kind
		text    string
	}{
		{steptest.Options{"target=postgres://" + postgres}, 0, ""},
		{steptest.Options{"target=postgres://" + postgres + "?sslmode=require"}, 0, ""},
		{steptest.Options{"target=postgres://" + postgres + "?sslmode=verify-full"}, fault.Permission, "certificate"},
		{steptest.Options{"target=postgres://" + postgres, ca}, 0, ""},
		{steptest.Options{"target=postgres://" + postgres, stranger}, fault.Permission, "certificate"},
		{steptest.Options{"target=rediss://" + redis, ca}, 0, ""},
		{steptest.Options{"target=rediss://" + redis, stranger}, fault.Permission, "certificate"},
	} {
		expect(t, once(t, append(c.options, "fail-fast=true")), c.kind, c.text)
	}
}

// names starts a DNS server, and returns what one look at target says where that server is the system's.
func names(t *testing.T, answer func(dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.ResourceBody)) func(options steptest.Options) error {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, client, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(buffer[:n]) != nil {
				continue
			}
			code, bodies := answer(query.Questions[0])
			if code == silence {
				continue
			}
			reply := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: query.ID, Response: true, RCode: code, RecursionAvailable: true},
				Questions: query.Questions,
			}
			for _, body := range bodies {
				q := query.Questions[0]
				reply.Answers = append(reply.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: body,
				})
			}
			if packed, err := reply.Pack(); err == nil {
				_, _ = server.WriteTo(packed, client)
			}
		}
	}()
	return func(options steptest.Options) error {
		task := steptest.Task(t, Kind, options)
		task.Policy.Retries = 0
		runner := steptest.Runner("")
		runner.World.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialer := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
			}}}
			if strings.HasSuffix(addr, ":53") {
				network, addr = "udp", server.LocalAddr().String()
			}
			return dialer.DialContext(ctx, network, addr)
		}
		return runner.Run(t.Context(), &plan.Plan{Root: plan.Sequence{task}}).Tasks[task].Err
	}
}

// silence is the code of a question that is not answered.
const silence dnsmessage.RCode = 15

func TestDNS(t *testing.T) {
	look := names(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.ResourceBody) {
		name := q.Name.String()
		switch {
		case name == "pods.test." && q.Type == dnsmessage.TypeA:
			return 0, []dnsmessage.ResourceBody{
				&dnsmessage.AResource{A: netip.MustParseAddr("192.0.2.1").As4()}, &dnsmessage.AResource{A: netip.MustParseAddr("192.0.2.2").As4()},
			}
		case name == "pods.test." && q.Type == dnsmessage.TypeAAAA:
			return 0, []dnsmessage.ResourceBody{&dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()}}
		case name == "_db._tcp.test." && q.Type == dnsmessage.TypeSRV:
			return 0, []dnsmessage.ResourceBody{&dnsmessage.SRVResource{Port: 5432, Target: dnsmessage.MustNewName("db.test.")}}
		case name == "broken.test.":
			return dnsmessage.RCodeServerFailure, nil
		case name == "half.test." && q.Type == dnsmessage.TypeA:
			return dnsmessage.RCodeServerFailure, nil
		case name == "silent.test.":
			return silence, nil
		}
		return dnsmessage.RCodeNameError, nil
	})
	for _, c := range []struct {
		target string
		not    bool
		text   string
	}{
		{"dns://pods.test.", false, ""},
		{"dns://pods.test.?min=2", false, ""},
		{"dns://pods.test.?min=3", false, "2 of 3 addresses"},
		{"dns://pods.test.?min=3", true, ""},
		{"dns://pods.test.", true, "is still there"},
		{"dns://_db._tcp.test.?type=srv", false, ""},
		{"dns://_db._tcp.test.?type=srv&min=2", false, "1 of 2 SRV records"},
		{"dns://absent.test.", false, "the name absent.test. does not exist"},
		{"dns://absent.test.", true, ""},
		{"dns://broken.test.", false, "DNS is broken"},
		{"dns://broken.test.", true, "DNS is broken"},
		{"dns://half.test.", true, "DNS is broken"},
		{"dns://silent.test.", true, "no answer within 300ms"},
		{"tcp://absent.test.:1", false, "the name absent.test. does not exist"},
		{"tcp://absent.test.:1", true, ""},
		{"tcp://broken.test.:1", true, "DNS is broken"},
		{"tcp://half.test.:1", true, "DNS is broken"},
	} {
		err := look(steptest.Options{"target=" + c.target, fmt.Sprintf("not=%v", c.not), "look-timeout=300ms"})
		if c.text == "" && err != nil {
			t.Errorf("%s: %v", c.target, err)
		}
		expect(t, err, fault.Unavailable, c.text)
	}
	expect(t, look(steptest.Options{"target=dns://pods.test.", "min-addresses=3"}), fault.Unavailable, "2 of 3 addresses")
}
