// Command floor does of vault-render what cannot be left out, and nothing else: it logs in by approle, reads the secrets side
// by side, writes each file beside its target, synced and renamed, and revokes its token. There are no templates, no
// receipt, no options and no errors worth reading. It is the least that such a program takes on this machine with this
// server, and so what the benchmark holds vault-render's growth with the number of files against.
//
//	floor ADDRESS CA-FILE ROLE-ID SECRET-ID-FILE DIR FILES SECRETS
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

type client struct {
	http           *http.Client
	address, token string
}

// answer is what of an answer is looked at.
type answer struct {
	Auth struct {
		Token string `json:"client_token"`
	}
	Data struct {
		Data struct{ User, Password string }
	}
}

func main() {
	address, ca, roleID, secretID, dir := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	files, secrets := number(os.Args[6]), number(os.Args[7])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(ca))
	c := &client{address: address, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
	}}}
	login := fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, roleID, read(secretID))
	c.token = c.ask(http.MethodPut, "auth/approle/login", login).Auth.Token

	contents := make([]string, min(files, secrets))
	var all sync.WaitGroup
	for i := range contents {
		all.Go(func() {
			pair := c.ask(http.MethodGet, fmt.Sprint("secret/data/bench/", i), "").Data.Data
			contents[i] = pair.User + ":" + pair.Password
		})
	}
	all.Wait()
	for i := range files {
		write(filepath.Join(dir, fmt.Sprint(".", i)), contents[i%len(contents)])
	}
	for i := range files {
		must(os.Rename(filepath.Join(dir, fmt.Sprint(".", i)), filepath.Join(dir, fmt.Sprint(i))))
	}
	folder, err := os.Open(dir)
	must(err)
	must(folder.Sync())
	c.ask(http.MethodPut, "auth/token/revoke-self", "")
}

func (c *client) ask(method, path, body string) (a answer) {
	request, err := http.NewRequest(method, c.address+"/v1/"+path, bytes.NewReader([]byte(body)))
	must(err)
	request.Header.Set("X-Vault-Token", c.token)
	response, err := c.http.Do(request)
	must(err)
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return a
	}
	if response.StatusCode != http.StatusOK {
		must(fmt.Errorf("%s %s: %s", method, path, response.Status))
	}
	must(json.NewDecoder(response.Body).Decode(&a))
	return a
}

func write(path, content string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	must(err)
	_, err = f.WriteString(content)
	must(err)
	must(f.Sync())
	must(f.Close())
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	must(err)
	return content
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}
