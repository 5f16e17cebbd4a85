package servers

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Redis is a Redis server that wants Password.
type Redis struct {
	*Server
	Addr string
}

// StartRedis starts a Redis server with nothing in it, over TLS unless certificate is empty.
func StartRedis(t testing.TB, certificate pki.Pair) *Redis {
	t.Helper()
	return startRedis(t, Dir(t), certificate)
}

// StartRedisLoading starts a Redis server that loads its data, and says so to every client, until Load.
func StartRedisLoading(t testing.TB) *Redis {
	t.Helper()
	dir := Dir(t)
	filled := startRedis(t, dir, pki.Pair{}, "--enable-debug-command", "local")
	filled.do(t, "DEBUG POPULATE 100000")
	filled.do(t, "SAVE")
	filled.Stop(t)
	// 100,000 keys at 0.5 ms each load for 50 s; after each KiB of them, some 30, the server answers its clients.
	return startRedis(t, dir, pki.Pair{}, "--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024")
}

func startRedis(t testing.TB, dir string, certificate pki.Pair, args ...string) *Redis {
	t.Helper()
	port := FreePort(t)
	listen := []string{"--port", port}
	if certificate != (pki.Pair{}) {
		listen = []string{
			"--port", "0", "--tls-port", port, "--tls-auth-clients", "no", "--tls-cert-file", certificate.Certificate,
			"--tls-key-file", certificate.Key, "--tls-ca-cert-file", certificate.Certificate,
		}
	}
	base := []string{
		tools.Installed(t, "redis-server"), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--requirepass", Password,
		"--unixsocket", filepath.Join(dir, "redis.sock"),
	}
	server := start(t, spec{dir: dir, args: append(append(base, listen...), args...)})
	server.awaitPort(t, port)
	return &Redis{Server: server, Addr: "127.0.0.1:" + port}
}

// Load ends the loading of StartRedisLoading.
func (r *Redis) Load(t testing.TB) {
	t.Helper()
	r.do(t, "CONFIG SET key-load-delay 0")
}

// do sends one command after logging in; the test fails unless the answer is OK.
func (r *Redis) do(t testing.TB, command string) {
	t.Helper()
	conn, err := net.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "AUTH \"%s\"\r\n%s\r\n", Password, command)
	answers := bufio.NewReader(conn)
	for _, sent := range []string{"AUTH", command} {
		answer, err := answers.ReadString('\n')
		if err != nil || !strings.HasPrefix(answer, "+OK") {
			t.Fatalf("redis: %s: answer %q, %v", sent, answer, err)
		}
	}
}
