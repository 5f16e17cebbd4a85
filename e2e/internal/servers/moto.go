package servers

import (
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// Moto is moto (https://github.com/getmoto/moto), an emulator of AWS in Python. It is not AWS: it checks no signature and
// no right, so what AWS refuses is known from its documentation alone.
type Moto struct {
	*Server
	URL string
}

// StartMoto starts an emulator with nothing in it. The test is skipped where moto is not installed: no package of Debian has
// it (pip install 'moto[server]').
func StartMoto(t testing.TB) *Moto {
	t.Helper()
	program, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("moto_server is not installed: pip install 'moto[server]'")
	}
	port := FreePort(t)
	m := &Moto{URL: "http://127.0.0.1:" + port}
	m.Server = start(t, spec{dir: Dir(t), args: []string{program, "-H", "127.0.0.1", "-p", port}, env: []string{"PATH=" + os.Getenv("PATH")}})
	m.awaitPort(t, port)
	return m
}

// Do makes one request of a service, such as secretsmanager.CreateSecret.
func (m *Moto) Do(t testing.TB, service, target string, question any) {
	t.Helper()
	err := postJSON(http.DefaultClient, m.URL, http.Header{
		"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target},
		"Authorization": {"AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/" + service + "/aws4_request, SignedHeaders=host, Signature=0"},
	}, question)
	if err != nil {
		t.Fatal(err)
	}
}
