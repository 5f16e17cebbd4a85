package servers

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"testing"
)

// StartTunnel starts a proxy for HTTPS that leads each "host:port" to an address, and all others nowhere. It returns its
// URL.
func StartTunnel(t testing.TB, hosts ...map[string]string) string {
	t.Helper()
	places := make(map[string]string)
	for _, some := range hosts {
		maps.Copy(places, some)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go tunnel(conn, places)
		}
	}()
	return "http://" + listener.Addr().String()
}

// tunnel serves one connection to the proxy.
func tunnel(client net.Conn, places map[string]string) {
	defer client.Close()
	reader := bufio.NewReader(client)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	place := places[request.Host]
	if request.Method != http.MethodConnect || place == "" {
		_, _ = io.WriteString(client, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		return
	}
	server, err := net.Dial("tcp", place)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, reader)
		server.Close()
	}()
	_, _ = io.Copy(client, server)
}
