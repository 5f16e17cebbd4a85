package object_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/gittest"
	"github.com/slipway-init/slipway/internal/git/object"
)

// What is read of a tree is what git ls-tree prints.
func TestTreeIsThatOfGit(t *testing.T) {
	for _, format := range []object.Format{object.SHA1, object.SHA256} {
		r := gittest.New(t, "--object-format="+format.String())
		commit := strings.Repeat("12", format.Size())
		r.CommitTree("100644 blob "+r.Blob("a")+"\ta b", "100755 blob "+r.Blob("b")+"\trun", "120000 blob "+r.Blob("x")+"\tlink",
			"160000 commit "+commit+"\tsub", "040000 tree "+r.GitWith("", "mktree")+"\tdir")
		var got []string
		for e, err := range object.Entries([]byte(r.Git("cat-file", "tree", "HEAD^{tree}")), format) {
			if err != nil {
				t.Fatal(err)
			}
			kind := map[object.Mode]string{object.ModeDir: "tree", object.ModeSubmodule: "commit"}[e.Mode]
			if kind == "" {
				kind = "blob"
			}
			got = append(got, fmt.Sprintf("%06o %s %s\t%s", uint32(e.Mode), kind, e.ID, e.Name))
		}
		if want := r.Git("ls-tree", "HEAD"); strings.Join(got, "\n") != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	}
}

func TestMalformedTrees(t *testing.T) {
	id := strings.Repeat("i", 20)
	for _, text := range []string{
		"100644 a", "100644 a\x00short", " a\x00" + id, "100648 a\x00" + id, "100644 a/b\x00" + id, "100644 \x00" + id, "010000 fifo\x00" + id,
		"1000644 a\x00" + id,
	} {
		for _, err := range object.Entries([]byte(text), object.SHA1) {
			if fault.KindOf(err) != fault.Data {
				t.Errorf("%q: got %v", text, err)
			}
		}
	}
	for e, err := range object.Entries([]byte("100664 a\x00"+id), object.SHA1) {
		if e.Mode != object.ModeFile || err != nil {
			t.Errorf("an old mode: got %o, %v", e.Mode, err)
		}
	}
}

func TestCommitsAndTags(t *testing.T) {
	r := gittest.New(t)
	first := r.Commit("first")
	second := r.Commit("second\n\ngpgsig of the message stays")
	c, err := object.ParseCommit([]byte(r.Git("cat-file", "commit", second) + "\n"))
	if err != nil || c.Tree.String() != r.Git("rev-parse", "HEAD^{tree}") || len(c.Parents) != 1 || c.Parents[0].String() != first ||
		c.Signature != "" || !strings.HasPrefix(c.Signer, "C <c@example.org> 1700000000") || !strings.Contains(string(c.Payload), "gpgsig of") {
		t.Errorf("got %+v, %v", c, err)
	}
	signed := "tree " + c.Tree.String() + "\ngpgsig -----BEGIN\n line\n -----END\ngpgsig-sha256 other\n other\nencoding x\n\ngpgsig message\n"
	c, err = object.ParseCommit([]byte(signed))
	if err != nil || c.Signature != "-----BEGIN\nline\n-----END\n" || string(c.Payload) != "tree "+c.Tree.String()+"\nencoding x\n\ngpgsig message\n" {
		t.Errorf("signed: got %q of %q, %v", c.Signature, c.Payload, err)
	}
	r.Git("tag", "-a", "-m", "a tag", "v1")
	tag, err := object.ParseTag([]byte(r.Git("cat-file", "tag", "v1")))
	if err != nil || tag.Object.String() != second || tag.Type != object.Commit || tag.Name != "v1" {
		t.Errorf("got %+v, %v", tag, err)
	}
	const quoted, last = "-----BEGIN SSH SIGNATURE-----\nof another\n", "-----BEGIN PGP SIGNATURE-----\nx\n"
	tag, err = object.ParseTag([]byte("object " + second + "\ntype commit\n\n" + quoted + last))
	if err != nil || tag.Signature != last || !strings.HasSuffix(string(tag.Payload), quoted) {
		t.Errorf("two signatures: got %q of %q, %v", tag.Signature, tag.Payload, err)
	}
	for _, text := range []string{"", "tree x\n\n", "parent " + first + "\n\n", "tree " + c.Tree.String() + "\nparent x\n\n"} {
		if _, err := object.ParseCommit([]byte(text)); fault.KindOf(err) != fault.Data {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if _, err := object.ParseTag([]byte("tag x\n\n")); fault.KindOf(err) != fault.Data {
		t.Errorf("got %v", err)
	}
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte("100644 a\x00"+strings.Repeat("i", 20)), false)
	f.Fuzz(func(t *testing.T, content []byte, long bool) {
		format := object.SHA1
		if long {
			format = object.SHA256
		}
		for e, err := range object.Entries(content, format) {
			if err != nil {
				return
			}
			if e.Name == "" || strings.ContainsAny(e.Name, "/\x00") || e.ID.Format() != format {
				t.Errorf("got %+v", e)
			}
		}
	})
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte("tree " + strings.Repeat("1", 40) + "\ngpgsig a\n b\n\nm\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := object.ParseCommit(content)
		if err == nil && len(c.Payload) > len(content) {
			t.Error("what is signed is more than there is")
		}
		_, _ = object.ParseTag(content)
	})
}
