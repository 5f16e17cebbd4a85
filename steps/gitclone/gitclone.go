// Package gitclone is the step that puts a commit's files into a directory.
//
// options.go has what was asked for and checks it; access.go reaches the server; ref.go finds the commit; repository.go
// fetches and writes one repository, submodules.go those in it, and lfs.go what is kept elsewhere. verify.go asks who signed.
package gitclone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-init/slipway/internal/atomicdir"
	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is git-clone.
var Kind = step.Kind{
	Name:   "git-clone",
	Short:  "put the files of a git commit into a directory",
	Long:   long,
	Args:   []string{"url", "dir"},
	Policy: step.Policy{Timeout: 10 * time.Minute, Retries: 5, Backoff: 500 * time.Millisecond},
	New:    func() step.Step { return newStep() },
}

type clone struct {
	options

	trust string // what the files of --verify-signature hold now, as a digest
}

func newStep() *clone { return &clone{options: options{depth: 1}} }

// Run asks for the refs, and for more only if the commit is another one or the directory was changed.
func (s *clone) Run(ctx context.Context, env *step.Env) error {
	dir := env.Path(s.dir)
	trust, err := s.trusted(env)
	if err != nil {
		return err
	}
	s.trust = trust
	if id, ok := object.ParseID(s.ref); ok && s.has(ctx, dir, id) {
		return s.skip(ctx, env, id)
	}
	access := &access{options: &s.options, env: env, home: s.address}
	remote, err := access.connect(ctx, s.address)
	if err != nil {
		return err
	}
	defer remote.Close()
	tip, err := findRef(ctx, remote, s.ref)
	if err != nil {
		return err
	}
	if err := s.expected(tip.Commit()); err != nil {
		return err
	}
	if s.has(ctx, dir, tip.Commit()) {
		return s.skip(ctx, env, tip.Commit())
	}
	stage, err := atomicdir.Create(ctx, env, dir, atomicdir.Attributes{
		Mode: s.mode, Owner: s.owner, Force: s.force, Option: "--force",
	})
	if err != nil {
		return err
	}
	defer stage.Abort(ctx)
	r := &repository{options: &s.options, env: env, access: access, remote: remote, address: s.address, root: stage.Root()}
	commit, err := r.clone(ctx, tip)
	if err != nil {
		return err
	}
	if err := s.expected(commit); err != nil { // of a tag that the server did not peel
		return err
	}
	if err := s.leaveCommit(env, stage.Root(), commit); err != nil {
		return err
	}
	if err := stage.Commit(ctx, receipt.Receipt{Source: s.source(), Facts: s.facts(commit)}); err != nil {
		return err
	}
	env.Output("files", strconv.Itoa(r.files))
	env.Output("bytes", strconv.FormatInt(r.bytes, 10))
	return s.tell(ctx, env, commit)
}

// expected returns a Data fault if commit is not the one that was pinned.
func (s *clone) expected(commit object.ID) error {
	if s.expectCommit == "" || commit.IsZero() || commit.String() == s.expectCommit {
		return nil
	}
	return fault.Hint(fault.New(fault.Data, "%s: %s is the commit %s, not %s as expected", s.address, s.shownRef(), commit, s.expectCommit),
		"somebody has moved it: look at what changed, then change --expect-commit")
}

// has reports whether dir holds the files of commit, as an earlier run with the same options left them.
func (s *clone) has(ctx context.Context, dir string, commit object.ID) bool {
	if commit.IsZero() || (s.expectCommit != "" && s.expectCommit != commit.String()) {
		return false
	}
	r, ok := receipt.Read(dir)
	return ok && r.Of(s.source(), s.facts(commit)) && r.Untouched(ctx, dir)
}

func (s *clone) skip(ctx context.Context, env *step.Env, commit object.ID) error {
	atomicdir.Sweep(ctx, env.Path(s.dir))
	env.Output(step.Skipped, "unchanged")
	return s.tell(ctx, env, commit)
}

// tell puts the commit into the file that was asked for, and into the report.
func (s *clone) tell(ctx context.Context, env *step.Env, commit object.ID) error {
	env.Output("commit", commit.String())
	if s.commitFile == "" {
		return nil
	}
	line := strings.NewReader(commit.String() + "\n")
	_, err := atomicfile.Write(ctx, env, env.Path(s.commitFile), line, atomicfile.Attributes{Mode: 0o644, Owner: s.owner})
	return err
}

// commitName is the file in the directory that tells the commit, where no other is asked for.
const commitName = "GIT_COMMIT"

// leaveCommit writes the commit into the tree, unless it goes elsewhere, or git itself can tell.
func (s *clone) leaveCommit(env *step.Env, root *os.Root, commit object.ID) error {
	if s.commitFile != "" || s.keepGit {
		return nil
	}
	if _, err := root.Lstat(commitName); err == nil {
		env.Log.Warn("the repository has a file of its own called "+commitName, "hint", "--commit-file names another one for the commit")
		return nil
	}
	err := root.WriteFile(commitName, []byte(commit.String()+"\n"), 0o644)
	if err != nil {
		return fault.Output(err)
	}
	return nil
}

// source is where the tree came from, for the receipt.
func (s *clone) source() string { return s.address.String() }

// facts are what makes one tree another than the next, for the receipt.
func (s *clone) facts(commit object.ID) map[string]string {
	facts := map[string]string{"commit": commit.String(), "options": s.shape()}
	if s.trust != "" {
		facts["trust"] = s.trust
	}
	return facts
}

// trusted returns a digest of the keys that are trusted, "" without --verify-signature: whoever is no longer trusted has not
// signed what lies there from the time before.
func (s *clone) trusted(env *step.Env) (string, error) {
	if len(s.verify) == 0 {
		return "", nil
	}
	digest := sha256.New()
	for _, file := range s.verify {
		text, err := httpx.ReadFile(env, file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(digest, "%d\n%s", len(text), text)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}
