package gitclone

// long is the page of help.
const long = `Puts the files of one commit of a git repository into a directory. Neither git nor ssh need be in the image.

    slipway git-clone https://git.example.org/shop/config.git /config
    slipway git-clone https://git.example.org/shop/config.git /config --ref v1.4.2 --password-file /git/token
    slipway git-clone git@git.example.org:shop/config.git /config --ssh-key /git/key --known-hosts /git/known_hosts
    slipway git-clone https://git.example.org/shop/models.git /models --path small/ --lfs --owner 1000:1000

In a plan:

    - git-clone:
        url: https://git.example.org/shop/config.git
        dir: /config
        ref: main
        expect-commit: 5a1f0c7c4f1e8e9e2b6a3d9b7c1f2e3d4c5b6a79
        password-file: /git/token

## What is written

--ref is a branch, a tag or a full commit id; a branch comes before a tag of the same name, as in git clone. Other refs
are named in full: refs/pull/1/head. The files are those that git would write, with their modes, links and the line ends
that .gitattributes asks for. There is no .git, unless --keep-git asks for one, with --depth commits of history; then git
status and git log work in the directory.

The commit's id goes into the file GIT_COMMIT in the directory, or to --commit-file, and into the report. With --keep-git
it is git that knows.

--path writes a part of the tree: files, directories or patterns such as deploy/**/*.yaml, from the top of the tree. Where
the server can (filter), only those files are sent.

--submodules writes the files of submodules too, and of those in them. A submodule on the same server is asked for with the
same user and token; another server gets what --netrc-file has for it, and nothing else. --lfs writes what is kept in git
LFS, verified by its SHA-256.

## The directory

It is made beside its place and put there as a whole, or not at all: whoever looks sees the old tree or the new one. (In
a mount point itself, such as the directory of an emptyDir, entry by entry.) It must be slipway's own, new or empty: another
one with something in it is left alone, unless --force says so.

**A second run** asks the server for its refs, and for nothing if --ref is a commit's id. If the commit is the same and
nothing in the directory was touched, that is all. Otherwise the directory is made anew.

## Who asks

| server | options |
|---|---|
| https:// | --password-file with a token (--username if the server looks at it), --bearer-file, --netrc-file, --cert-file and --key-file; --github-app with --github-installation and --github-app-key |
| ssh:// | --ssh-key, with --ssh-key-passphrase-file, or the agent of SSH_AUTH_SOCK |
| git://, file:///, a path | nobody: there is no such thing |

A token goes to the server that was named. A redirect to another host is refused, so that it goes nowhere else; so is a
password in the URL, which others can read. Proxies are those of HTTPS_PROXY and NO_PROXY; --ca-file trusts the authorities in
a file instead of the system's.

An SSH server must be in --known-hosts, or in ~/.ssh/known_hosts or /etc/ssh/ssh_known_hosts: there is no option to trust
whoever answers. The mode of the key does not matter, nor does it need an entry in /etc/passwd.

## Whom to trust

--expect-commit pins the commit. --verify-signature takes a file with keys, OpenPGP's or an allowed signers file of SSH:
the tag that was asked for, or the commit, must be signed by one of them.

Refused are trees with links that lead out of them, and with names that some file system takes for .git. Every object is
verified by its id on arrival. SHA-1 is computed so that the known ways to make collisions are noticed.

**Exit codes**: 64 if options are wrong; 65 if the commit is not the expected one, is not signed by somebody trusted, or the
tree or pack is not sound; 66 if there is no such repository, ref or path; 69 if the server cannot be reached; 71 for what a
server or repository has that is not known here; 73 if the directory cannot be written or is somebody else's; 74 if a
connection breaks; 75 if the server is busy; 77 if the server refuses, or is not the one that known_hosts or the authorities
tell.

**Privileges**: none beyond the right to write to the directory's parent. --owner with another user needs the capability
CHOWN; a pod's securityContext.fsGroup often makes it unnecessary.
`
