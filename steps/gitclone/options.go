package gitclone

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/address"
	"github.com/slipway-init/slipway/internal/git/githubapp"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/glob"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// options are what was asked for.
type options struct {
	url, dir     string
	ref          string
	expectCommit string
	depth        int
	paths        []string
	submodules   bool
	lfs          bool
	keepGit      bool
	commitFile   string
	verify       []string
	force        bool
	mode         opt.Mode
	owner        opt.Owner

	username, passwordFile string
	bearerFile             string
	netrcFile              string
	app                    app
	tls                    httpx.TLS
	sshKey                 string
	sshPassphraseFile      string
	knownHosts             []string

	address address.Address // what Effects made of url
	filter  glob.Filter     // and of paths
}

// app is an installation of a GitHub App.
type app struct{ id, installation, keyFile, api string }

// Flags implements step.Step.
func (o *options) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.url, "url", "", "repository: https://…, ssh://…, user@host:path, git://…, file:///… or an absolute path")
	fs.StringVar(&o.dir, "dir", "", "directory to write; it is replaced as a whole")
	fs.StringVar(&o.ref, "ref", "", "branch, tag or full commit id (default the repository's HEAD)")
	fs.StringVar(&o.expectCommit, "expect-commit", "", "full id of the commit that it must be")
	fs.IntVar(&o.depth, "depth", o.depth, "commits of history to keep with --keep-git; 0 is all")
	fs.StringSliceVar(&o.paths, "path", nil, "file, directory or pattern to write, instead of the whole tree")
	fs.BoolVar(&o.submodules, "submodules", false, "write the submodules' files too, and those in them")
	fs.BoolVar(&o.lfs, "lfs", false, "write the files of git LFS, instead of the pointers to them")
	fs.BoolVar(&o.keepGit, "keep-git", false, "keep .git, so that git itself can be used in the directory")
	fs.StringVar(&o.commitFile, "commit-file", "", "file to write the commit's id to (default "+commitName+" in the directory)")
	fs.StringSliceVar(&o.verify, "verify-signature", nil, "file with trusted keys, SSH's allowed signers or OpenPGP's; the tag or the commit must be signed by one")
	fs.BoolVar(&o.force, "force", false, "replace a directory that slipway did not make")
	fs.Var(&o.mode, "mode", "mode of the directory itself, in octal (default that of the one it replaces, or 0755)")
	fs.Var(&o.owner, "owner", "numeric owner of the tree, UID:GID, UID or :GID")
	fs.StringVar(&o.username, "username", "", "user for HTTP (default that of the URL, or git)")
	fs.StringVar(&o.passwordFile, "password-file", "", "file with the password or token of that user")
	fs.StringVar(&o.bearerFile, "bearer-file", "", "file with a token for HTTP's Bearer scheme")
	fs.StringVar(&o.netrcFile, "netrc-file", "", "file with users and passwords for each host, as curl reads it")
	fs.StringVar(&o.app.id, "github-app", "", "client id or number of a GitHub App that may read the repository")
	fs.StringVar(&o.app.installation, "github-installation", "", "number of the app's installation")
	fs.StringVar(&o.app.keyFile, "github-app-key", "", "file with the app's private key")
	fs.StringVar(&o.app.api, "github-api", "", "URL of GitHub's API (default that of the URL's host)")
	fs.StringVar(&o.tls.CAFile, "ca-file", "", "file with the authorities to trust, instead of the system's")
	fs.StringVar(&o.tls.CertFile, "cert-file", "", "file with the client's certificate")
	fs.StringVar(&o.tls.KeyFile, "key-file", "", "file with the key of the client's certificate")
	fs.StringVar(&o.sshKey, "ssh-key", "", "file with the private key for SSH; its mode does not matter")
	fs.StringVar(&o.sshPassphraseFile, "ssh-key-passphrase-file", "", "file with the passphrase of that key")
	fs.StringSliceVar(&o.knownHosts, "known-hosts", nil, "file with the keys of SSH servers (default ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts)")
}

// Effects implements step.Step.
func (o *options) Effects() ([]step.Effect, error) {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	var err error
	if o.address, err = address.Parse(o.url); err != nil {
		faults = append(faults, err)
	}
	if o.dir == "" {
		fail("no dir is given")
	}
	if o.filter, err = glob.New(tied(o.paths), nil); err != nil {
		fail("a --path is not a path or a pattern such as deploy/*.yaml")
	}
	if _, ok := object.ParseID(o.expectCommit); o.expectCommit != "" && !ok {
		fail("--expect-commit %q is not a full commit id of 40 or 64 hexadecimal digits", o.expectCommit)
	}
	o.expectCommit = strings.ToLower(o.expectCommit)
	if !validRef(o.ref) {
		fail("--ref %q cannot be the name of a branch or a tag", o.ref)
	}
	if o.depth < 0 {
		fail("--depth %d is negative", o.depth)
	}
	if o.keepGit && len(o.paths) > 0 {
		fail("--keep-git keeps a whole repository, and --path writes a part of one")
	}
	faults = append(faults, o.checkAccess())
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return o.effects(), nil
}

// checkAccess checks the options of access against each other.
func (o *options) checkAccess() error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	overHTTP := o.address.Scheme == address.HTTP || o.address.Scheme == address.HTTPS
	ways := 0
	for _, way := range []string{o.passwordFile, o.bearerFile, o.app.id} {
		if way != "" {
			ways++
		}
	}
	if ways > 1 {
		fail("--password-file, --bearer-file and --github-app exclude each other")
	}
	if (o.app.id == "") != (o.app.installation == "") || (o.app.id == "") != (o.app.keyFile == "") || (o.app.api != "" && o.app.id == "") {
		fail("--github-app, --github-installation and --github-app-key need each other")
	}
	if u, err := url.Parse(o.app.api); o.app.api != "" && (err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil) {
		fail("--github-api is not a URL such as https://api.github.com")
	}
	if o.username != "" && o.passwordFile == "" {
		fail("--username needs --password-file")
	}
	if ways > 0 && o.address.Scheme != "" && !overHTTP {
		fail("--password-file, --bearer-file and --github-app are for https:// and http://")
	}
	if (o.tls.CertFile == "") != (o.tls.KeyFile == "") {
		fail("--cert-file and --key-file need each other")
	}
	if o.sshPassphraseFile != "" && o.sshKey == "" {
		fail("--ssh-key-passphrase-file needs --ssh-key")
	}
	return errors.Join(faults...)
}

// effects returns what Run touches.
func (o *options) effects() []step.Effect {
	effects := []step.Effect{{Verb: step.Write, Object: filepath.Clean(o.dir) + "/..."}}
	if o.owner.Given() {
		effects = append(effects, step.Effect{Verb: step.Own, Object: filepath.Clean(o.dir) + "/..."})
	}
	if o.commitFile != "" {
		effects = append(effects, step.Effect{Verb: step.Write, Object: filepath.Clean(o.commitFile)})
	}
	if endpoint := o.address.Endpoint(); endpoint != "" {
		effects = append(effects, step.Effect{Verb: step.Dial, Object: "tcp://" + endpoint})
	} else {
		effects = append(effects, step.Effect{Verb: step.Read, Object: o.address.Path})
	}
	if o.app.id != "" {
		effects = append(effects, step.Effect{Verb: step.Dial, Object: "tcp://" + httpx.Address(o.api())})
	}
	for _, file := range o.files() {
		if file != "" {
			effects = append(effects, step.Effect{Verb: step.Read, Object: filepath.Clean(file)})
		}
	}
	return effects
}

// api returns the API that gives the app its tokens.
func (o *options) api() *url.URL {
	if u, err := url.Parse(o.app.api); o.app.api != "" && err == nil {
		return u
	}
	return githubapp.APIOf(o.address.Host)
}

// files returns the files that are read, some of them "".
func (o *options) files() []string {
	files := []string{
		o.passwordFile, o.bearerFile, o.netrcFile, o.app.keyFile, o.tls.CAFile, o.tls.CertFile, o.tls.KeyFile, o.sshKey, o.sshPassphraseFile,
	}
	return append(append(files, o.knownHosts...), o.verify...)
}

// shape tells trees of the same commit apart that options make different.
func (o *options) shape() string {
	return fmt.Sprintf("verify=%q paths=%q submodules=%t lfs=%t keep-git=%t depth=%d commit-file=%t mode=%s owner=%s", o.verify, o.paths, o.submodules, o.lfs, o.keepGit, o.keptDepth(), o.commitFile != "", o.mode.String(), o.owner.String())
}

// keptDepth is the depth of the history that is fetched. Without --keep-git nothing of it is kept.
func (o *options) keptDepth() int {
	if o.keepGit {
		return o.depth
	}
	return 1
}

// shownRef is the ref as errors name it.
func (o *options) shownRef() string {
	if o.ref == "" {
		return "HEAD"
	}
	return o.ref
}

// tied returns the paths as patterns that begin at the top of the tree: "docs" is that directory, not any of the name.
func tied(paths []string) []string {
	var patterns []string
	for _, path := range paths {
		patterns = append(patterns, "/"+strings.TrimPrefix(filepath.ToSlash(filepath.Clean("/"+path)), "/"))
	}
	return patterns
}
