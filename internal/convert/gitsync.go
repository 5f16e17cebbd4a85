package convert

import (
	"path"
	"strings"

	"github.com/slipway-init/slipway/internal/manifest/document"
)

var gitSyncGrammar = grammar{
	short:  map[string]string{"v": "verbose"},
	bools:  []string{"one-time", "ssh", "ssh-known-hosts", "add-user", "http-metrics", "http-pprof", "cookie-file", "stale-worktree-timeout"},
	single: true,
}

// gitSyncOptions are the flags of git-sync, of its versions 3 and 4, that are options of git-clone.
var gitSyncOptions = map[string]string{
	"repo": "url", "ref": "ref", "branch": "ref", "rev": "ref", "depth": "depth", "username": "username", "password-file": "password-file",
	"ssh-key-file": "ssh-key", "ssh-known-hosts-file": "known-hosts", "github-app-application-id": "github-app", "github-app-client-id": "github-app",
	"github-app-installation-id": "github-installation", "github-app-private-key-file": "github-app-key", "github-base-url": "github-api",
}

// gitSync converts the arguments and variables of git-sync.
func (c *converter) gitSync(words []word, env []*document.Node) {
	flags, rest, _ := gitSyncGrammar.read(words)
	for _, variable := range env {
		name := variable.Get("name").Text()
		for _, prefix := range []string{"GITSYNC_", "GIT_SYNC_"} {
			if short, ok := strings.CutPrefix(name, prefix); ok {
				if !variable.Get("value").Given() {
					c.note(variable.Pos(), "git-sync: the variable %s comes from elsewhere: a password belongs into --password-file", name)
					continue
				}
				flags = append(flags, flag{strings.ToLower(strings.ReplaceAll(short, "_", "-")), variable.Get("value").Text(), variable.Pos()})
			}
		}
	}
	o := options{"submodules": {"true"}}
	root, link, once := "", "", false
	for _, f := range flags {
		option := gitSyncOptions[f.name]
		switch {
		case f.name == "root":
			root = f.value
		case f.name == "link" || f.name == "dest":
			link = f.value
		case f.name == "one-time":
			once = f.value != "false"
		case f.name == "submodules":
			if f.value == "off" {
				delete(o, "submodules")
			}
		case f.name == "depth":
			// There is no history unless --keep-git is given.
		case f.name == "ref" || f.name == "branch" || f.name == "rev":
			if f.value != "HEAD" && f.value != "" {
				o["ref"] = []string{f.value}
			}
		case option != "":
			o[option] = []string{f.value}
		case f.name == "ssh" || f.name == "verbose" || f.name == "period" || f.name == "wait" || f.name == "max-failures" || f.name == "max-sync-failures":
			// What the address says, logs, and how often it looks again.
		default:
			c.note(f.pos, "git-sync %s: nothing is made of it", f.name)
		}
	}
	c.others(rest, "git-sync")
	if len(o["url"]) == 0 || root == "" {
		c.note(place(words), "git-sync: --repo and --root are not both given")
		return
	}
	if link == "" {
		link = strings.TrimSuffix(path.Base(strings.TrimSuffix(o["url"][0], "/")), ".git")
	}
	dir := link
	if !path.IsAbs(link) {
		dir = path.Join(root, link)
	}
	o["dir"] = []string{dir}
	if !c.step(place(words), o.words("git-clone")...) {
		return
	}
	c.note(place(words), "git-sync: %s is a directory with the files, not a link to a worktree with .git in it", dir)
	if !once {
		c.note(place(words), "git-sync: it goes on and follows the repository; slipway clones once, before the application starts")
	}
}
