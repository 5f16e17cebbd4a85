package address_test

import (
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/address"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{ // scheme, user, endpoint, path
		"https://example.org/a/b.git":           "https  example.org:443 /a/b.git",
		"HTTP://example.org:8080/a":             "http  example.org:8080 /a",
		"https://bob@[::1]/a":                   "https bob [::1]:443 /a",
		"ssh://git@example.org:2222/a/b":        "ssh git example.org:2222 /a/b",
		"git+ssh://example.org/~bob/a":          "ssh  example.org:22 ~bob/a",
		"git@example.org:group/a.git":           "ssh git example.org:22 group/a.git",
		"example.org:/srv/a.git":                "ssh  example.org:22 /srv/a.git",
		"git@[2001:db8::1]:a":                   "ssh git [2001:db8::1]:22 a",
		"git://example.org/a":                   "git  example.org:9418 /a",
		"file:///srv/a.git":                     "file   /srv/a.git",
		"file://localhost/srv/a.git":            "file   /srv/a.git",
		"/srv/a.git/":                           "file   /srv/a.git",
		"/srv/with:colon":                       "file   /srv/with:colon",
		"https://example.org/gr%C3%B6%C3%9Fe/a": "https  example.org:443 /größe/a",
	} {
		a, err := address.Parse(text)
		if got := strings.Join([]string{a.Scheme, a.User, a.Endpoint(), a.Path}, " "); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
		again, err := address.Parse(a.String())
		if again != a || err != nil {
			t.Errorf("%s: by its own form %s: got %+v, %v, want %+v", text, a, again, err, a)
		}
	}
	for _, text := range []string{
		"", "relative/path", "https://", "https:///a", "https://example.org", "https://example.org/", "ftp://example.org/a", "file://host/a",
		"https://bob:s3cret@example.org/a", "https://example.org/a?b", "https://example.org/a#b", "ssh://-oProxyCommand=x/a", "-x:a", "bob@-x:a",
		"ssh://-l@example.org/a", "https://example.org/a\nb", "git@host:", ":a", "https://%zz/a", "ssh://host:::::/a", "git@[host::x]:a",
		"https://[fe80::1%25\xf6]/a",
	} {
		if a, err := address.Parse(text); fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %+v, %v, want a usage fault", text, a, err)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct{ base, text, want string }{
		{"https://example.org/group/a.git", "../b.git", "https://example.org/group/b.git"},
		{"https://example.org/group/a.git/", "./b.git", "https://example.org/group/a.git/b.git"},
		{"https://example.org/group/a.git", "../../other/b", "https://example.org/other/b"},
		{"https://example.org/group/a.git", "https://elsewhere.org/b", "https://elsewhere.org/b"},
		{"git@example.org:group/a.git", "../b.git", "git@example.org:group/b.git"},
		{"git@example.org:a.git", "../b.git", "git@example.org:b.git"},
		{"/srv/a", "../b", "file:///srv/b"},
		{"https://example.org/a", "../../../b", ""},
		{"https://example.org/a", "..", ""},
		{"https://example.org/a", "b", ""},
	} {
		base, err := address.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := base.Resolve(c.text)
		if c.want == "" {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("%s of %s: got %s, %v, want a fault", c.text, c.base, got, err)
			}
		} else if got.String() != c.want || err != nil {
			t.Errorf("%s of %s: got %s, %v, want %s", c.text, c.base, got, err, c.want)
		}
	}
}

func TestSameServer(t *testing.T) {
	a, _ := address.Parse("https://Example.org/a")
	for text, want := range map[string]bool{
		"https://example.org:443/b": true, "https://example.org:8443/b": false, "http://example.org/b": false, "https://evil.org/b": false,
		"ssh://example.org/b": false,
	} {
		b, err := address.Parse(text)
		if got := a.SameServer(b); got != want || err != nil {
			t.Errorf("%s: got %t, %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"https://bob@[::1]:8/a%20b", "git@example.org:group/a.git", "ssh://h/~bob/a", "/a:b", "file:///a"} {
		f.Add(seed, "../b")
	}
	f.Fuzz(func(t *testing.T, text, relative string) {
		a, err := address.Parse(text)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("got %v", err)
			}
			return
		}
		again, err := address.Parse(a.String())
		if err != nil || again.Endpoint() != a.Endpoint() || again.Path != a.Path || again.User != a.User {
			t.Errorf("%q is %+v, and its own form %q is %+v, %v", text, a, a, again, err)
		}
		below := strings.HasPrefix(relative, "./") || strings.HasPrefix(relative, "../")
		if b, err := a.Resolve(relative); err == nil && below && !a.SameServer(b) && a.Scheme != address.Local {
			t.Errorf("%q of %q is on another server: %s", relative, a, b)
		}
	})
}
