package config_test

import (
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/config"
)

func TestParse(t *testing.T) {
	c, err := config.Parse("[core]\n\tbare = false\n[Extensions]\n\tobjectFormat = sha256\n[submodule \"a b\"]\n\tpath = x\n\turl = \"../y # z\"\n[submodule \"c\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Get("extensions", "objectformat"); got != "sha256" {
		t.Errorf("got %q", got)
	}
	var names []string
	c.Subsections("submodule", func(name string, get func(string) string) { names = append(names, name+"|"+get("path")+"|"+get("url")) })
	if len(names) != 2 || names[0] != "a b|x|../y # z" || names[1] != "c||" {
		t.Errorf("got %q", names)
	}
	if _, err := config.Parse("[unfinished"); fault.KindOf(err) != fault.Data {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[submodule \"a\"]\n\tpath = x\n\turl = \\\"y\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := config.Parse(text)
		if err == nil {
			c.Subsections("submodule", func(_ string, get func(string) string) { get("path") })
		}
	})
}
