// Package dotgit writes a repository's own files, the .git of a clone, so that git finds there what it would have written
// itself: gitrepository-layout(5), gitformat-index(5).
package dotgit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
)

// Clone says what the repository knows of where it came from.
type Clone struct {
	Format  object.Format
	URL     string
	Ref     string      // in full: "refs/heads/main" or "refs/tags/v1"; "" is a commit alone
	ID      object.ID   // of Ref
	Commit  object.ID   // what is checked out
	Shallow []object.ID // the commits whose parents are not there
	// Worktree is where the files are, from here; "" is the directory above.
	Worktree string
}

// Dir is a repository that is being written.
type Dir struct {
	root *os.Root
	temp string // the name of a pack that is being received
}

const packs = "objects/pack"

// New makes the folders of a repository in root, the .git itself. It must be empty: a submodule's name could be that of a
// folder of another one's.
func New(root *os.Root) (*Dir, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fault.Output(err)
	}
	if len(entries) > 0 {
		return nil, fault.New(fault.Data, "git's own directory of one submodule would be in that of another")
	}
	for _, dir := range []string{packs, "objects/info", "refs/heads", "refs/tags", "info"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return nil, fault.Output(err)
		}
	}
	return &Dir{root: root}, nil
}

// CreatePack returns the file that a pack is received into. Call Keep with what became of it.
func (d *Dir) CreatePack() (*os.File, error) {
	d.temp = packs + "/tmp_pack_slipway"
	f, err := d.root.OpenFile(d.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o444)
	return f, fault.Output(err)
}

// Keep gives a received pack its name and its index.
func (d *Dir) Keep(p *pack.Received) error {
	name := fmt.Sprintf("%s/pack-%x", packs, p.Sum())
	idx, err := d.root.OpenFile(name+".idx", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fault.Output(err)
	}
	if err := p.WriteIndex(idx); err != nil {
		return errors.Join(err, idx.Close())
	}
	if err := idx.Close(); err != nil {
		return fault.Output(err)
	}
	return fault.Output(d.root.Rename(d.temp, name+".pack"))
}

// Write writes all but the objects and the index.
func (d *Dir) Write(c Clone) error {
	files := map[string]string{
		"config":       c.config(),
		"description":  "Unnamed repository; edit this file 'description' to name the repository.\n",
		"info/exclude": "",
		"HEAD":         c.Commit.String() + "\n",
	}
	branch, isBranch := strings.CutPrefix(c.Ref, "refs/heads/")
	switch {
	case isBranch:
		files["HEAD"] = "ref: " + c.Ref + "\n"
		files[c.Ref] = c.Commit.String() + "\n"
		files["refs/remotes/origin/"+branch] = c.Commit.String() + "\n"
	case c.Ref != "":
		files[c.Ref] = c.ID.String() + "\n"
	}
	if len(c.Shallow) > 0 {
		var b bytes.Buffer
		for _, id := range c.Shallow {
			fmt.Fprintln(&b, id)
		}
		files["shallow"] = b.String()
	}
	for name, content := range files {
		if err := d.root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fault.Output(err)
		}
		if err := d.root.WriteFile(name, []byte(content), 0o644); err != nil {
			return fault.Output(err)
		}
	}
	return nil
}

// config returns the repository's configuration, as git clone --single-branch writes it.
func (c Clone) config() string {
	var b strings.Builder
	version := 0
	if c.Format != object.SHA1 {
		version = 1
	}
	fmt.Fprintf(&b, "[core]\n\trepositoryformatversion = %d\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n", version)
	if c.Worktree != "" {
		fmt.Fprintf(&b, "\tworktree = %s\n", quoted(c.Worktree))
	}
	if c.Format != object.SHA1 {
		fmt.Fprintf(&b, "[extensions]\n\tobjectformat = %s\n", c.Format)
	}
	fmt.Fprintf(&b, "[remote \"origin\"]\n\turl = %s\n", quoted(c.URL))
	if branch, ok := strings.CutPrefix(c.Ref, "refs/heads/"); ok {
		fmt.Fprintf(&b, "\tfetch = %s\n", quoted("+"+c.Ref+":refs/remotes/origin/"+branch)) // a branch may have a # in its name
		fmt.Fprintf(&b, "[branch %s]\n\tremote = origin\n\tmerge = %s\n", quoted(branch), quoted(c.Ref))
	}
	return b.String()
}

// AddSubmodule tells git of a submodule that was cloned.
func (d *Dir) AddSubmodule(name, url string) error {
	f, err := d.root.OpenFile("config", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fault.Output(err)
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "[submodule %s]\n\tactive = true\n\turl = %s\n", quoted(name), quoted(url))
	return fault.Output(err)
}

// quoted returns text as a value, or a subsection's name.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// CreateIndex begins git's index. Finish must be called at the end.
func (d *Dir) CreateIndex(f object.Format) (*Index, error) {
	const name = "index.slipway"
	file, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fault.Output(err)
	}
	if err := d.root.Remove(name); err != nil {
		return nil, errors.Join(fault.Output(err), file.Close())
	}
	return newIndex(d.root, file, f), nil
}
