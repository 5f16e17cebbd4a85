package worktree

import (
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/git/object"
)

func TestNames(t *testing.T) {
	for name, refused := range map[string]bool{
		"a": false, ".gitignore": false, ".github": false, "git": false, "git~5": false, ".gitx": false, "x.git": false, "git ~1": false,
		".git": true, ".GIT": true, "git~1": true, "GIT~2": true, ".git ": true, ".git...": true, ".git. .": true, ".git:x": true,
		".g\u200dit": true, ".gi\u206ft": true, `a\.git`: true, `.git\config`: true, ".": true, "..": true, strings.Repeat("x", 256): true,
	} {
		err := checkName(object.Entry{Name: name, Mode: object.ModeFile}, name)
		if (err != nil) != refused {
			t.Errorf("%q: got %v, want it refused: %t", name, err, refused)
		}
	}
	for _, name := range []string{".gitmodules", ".GITMODULES", "gitmod~1", ".git\u200cmodules"} {
		if checkName(object.Entry{Name: name, Mode: object.ModeSymlink}, name) == nil {
			t.Errorf("%q as a link is taken", name)
		}
		if err := checkName(object.Entry{Name: name, Mode: object.ModeFile}, name); err != nil {
			t.Errorf("%q as a file: %v", name, err)
		}
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add("*.txt eol=crlf\n[attr]m a b\n\"q\\040\" m\n{a,b}/ -text !x\n", "dir/a.txt")
	f.Add("a/ text\n/**/b eol=crlf text=auto\n", "a/b")
	f.Fuzz(func(t *testing.T, text, name string) {
		a := parseAttributes(text, "", nil)
		parseAttributes(text, "dir", a).of(name)
	})
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte("a\nb\r\n$Id$ $Id: x $\n"), true)
	f.Fuzz(func(t *testing.T, content []byte, auto bool) {
		r := rules{crlf: true, auto: auto}
		once := convert(content, r, object.ID{})
		if twice := convert(once, r, object.ID{}); string(twice) != string(once) {
			t.Errorf("%q becomes %q and then %q", content, once, twice)
		}
		convert(content, rules{ident: true}, object.ID{})
	})
}
