package netrc_test

import (
	"testing"

	"github.com/slipway-init/slipway/internal/git/netrc"
)

const file = `# comment machine a login x password y
machine one.example.org
	login bob password "with space"
macdef init
machine not.example.org login a password b

machine two.example.org login carol account x password c
machine two.example.org login dave password d
machine half.example.org login only
default login anonymous password guest
`

func TestFind(t *testing.T) {
	for _, c := range []struct{ host, user, login, password string }{
		{"one.example.org", "", "bob", "with space"},
		{"ONE.example.org", "bob", "bob", "with space"},
		{"two.example.org", "", "carol", "c"},
		{"two.example.org", "dave", "dave", "d"},
		{"half.example.org", "", "anonymous", "guest"},
		{"not.example.org", "", "anonymous", "guest"},
		{"one.example.org", "eve", "", ""},
	} {
		login, password, ok := netrc.Find(file, c.host, c.user)
		if login != c.login || password != c.password || ok != (c.login != "") {
			t.Errorf("%s %s: got %q %q %t", c.host, c.user, login, password, ok)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add(file, "one.example.org", "")
	f.Add(`machine x login "`, "x", "")
	f.Fuzz(func(t *testing.T, text, host, user string) {
		login, password, ok := netrc.Find(text, host, user)
		if ok && (login == "" || password == "" || user != "" && login != user) {
			t.Errorf("got %q %q", login, password)
		}
	})
}
