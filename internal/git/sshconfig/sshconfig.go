// Package sshconfig makes the configuration of an SSH client from files as Kubernetes mounts them: a private key, whoever
// else may read it, and the known_hosts by which the server is recognised.
//
// Neither ssh_config(5) nor /etc/passwd is read: a container may run under any user id. go-git's own SSH transport looks
// into both.
package sshconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// Options say who asks and which servers are right.
type Options struct {
	User           string
	KeyFile        string // the private key, in any form that ssh-keygen(1) writes; "" is none
	PassphraseFile string // of the key; "" is none
	// KnownHosts are the files by which servers are recognised; without any they are $HOME/.ssh/known_hosts and
	// /etc/ssh/ssh_known_hosts, as far as they are there.
	KnownHosts []string
}

// New returns the configuration for the server at address, host and port. Without a key file the agent of SSH_AUTH_SOCK is
// asked. Close the connection to it, if there is one, with the function that is returned.
func New(ctx context.Context, env *step.Env, address string, o Options) (config *ssh.ClientConfig, done func(), err error) {
	known, err := hosts(env, o.KnownHosts)
	if err != nil {
		return nil, nil, err
	}
	signers, done, err := keys(ctx, env, o)
	if err != nil {
		return nil, nil, err
	}
	return &ssh.ClientConfig{
		User:            o.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { return signers, nil })},
		HostKeyCallback: checker(known, address),
		// Without this, a server with several keys shows the one that it likes best, which may not be the known one.
		HostKeyAlgorithms: known.HostKeyAlgorithms(address),
	}, done, nil
}

// hosts reads the known_hosts files.
func hosts(env *step.Env, files []string) (*knownhosts.HostKeyDB, error) {
	var paths []string
	for _, file := range files {
		paths = append(paths, env.Path(filepath.Clean(file)))
	}
	if len(files) == 0 {
		for _, file := range []string{filepath.Join(env.Getenv("HOME"), ".ssh/known_hosts"), "/etc/ssh/ssh_known_hosts"} {
			if _, err := os.Stat(env.Path(file)); filepath.IsAbs(file) && err == nil {
				paths = append(paths, env.Path(file))
			}
		}
	}
	if len(paths) == 0 {
		return nil, fault.Hint(fault.New(fault.Permission, "no known_hosts file tells which server is the right one"),
			"give --known-hosts; ssh-keyscan HOST writes one, to be compared with what the server's owner publishes")
	}
	known, err := knownhosts.NewDB(paths...)
	if err != nil {
		if cause, ok := errors.AsType[*os.PathError](err); ok {
			return nil, fmt.Errorf("read %s: %w", files[max(0, slices.Index(paths, cause.Path))], cause.Err)
		}
		return nil, fault.New(fault.Data, "read known_hosts: %w", err)
	}
	return known, nil
}

// checker refuses every host key that is not in known.
func checker(known *knownhosts.HostKeyDB, address string) ssh.HostKeyCallback {
	check := known.HostKeyCallback()
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := check(host, remote, key)
		shown := fmt.Sprintf("%s %s", key.Type(), ssh.FingerprintSHA256(key))
		switch {
		case err == nil:
			return nil
		case knownhosts.IsHostUnknown(err):
			return fault.Hint(fault.New(fault.Permission, "ssh %s: the server is not in known_hosts; it shows the key %s", address, shown),
				"add its line to the file of --known-hosts, after comparing the key with what the server's owner publishes")
		case knownhosts.IsHostKeyChanged(err):
			return fault.Hint(fault.New(fault.Permission, "ssh %s: the server shows the key %s, and known_hosts has another one", address, shown),
				"the server's key was changed, or somebody stands between: ask the server's owner")
		}
		return fault.New(fault.Permission, "ssh %s: the server's key %s is refused: %w", address, shown, err)
	}
}

// keys returns the keys that prove who asks.
func keys(ctx context.Context, env *step.Env, o Options) (signers []ssh.Signer, done func(), err error) {
	done = func() {}
	if o.KeyFile != "" {
		signer, err := key(env, o)
		return []ssh.Signer{signer}, done, err
	}
	if socket := env.Getenv("SSH_AUTH_SOCK"); socket != "" {
		conn, err := env.Dial(ctx, "unix", socket)
		if err != nil {
			return nil, nil, fmt.Errorf("ask the SSH agent: %w", err)
		}
		done = func() { _ = conn.Close() }
		held, err := agent.NewClient(conn).Signers()
		if err != nil {
			done()
			return nil, nil, fault.New(fault.Permission, "ask the SSH agent for its keys: %w", err)
		}
		signers = append(signers, held...)
	}
	if len(signers) == 0 {
		return nil, nil, fault.Hint(fault.New(fault.Permission, "there is no key to prove who asks"),
			"give --ssh-key, or let SSH_AUTH_SOCK name an agent")
	}
	return signers, done, nil
}

// key reads the private key. Its mode does not matter: where a Secret's volume has an fsGroup, the group may read it.
func key(env *step.Env, o Options) (ssh.Signer, error) {
	text, err := httpx.ReadFile(env, o.KeyFile)
	if err != nil {
		return nil, err
	}
	text = append(bytes.TrimSpace(text), '\n') // a Secret's value often lacks the last line feed, which the form needs
	if o.PassphraseFile == "" {
		signer, err := ssh.ParsePrivateKey(text)
		if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
			return nil, fault.Hint(fault.New(fault.Permission, "read %s: the key has a passphrase", o.KeyFile), "give --ssh-key-passphrase-file")
		}
		if err != nil {
			return nil, fault.New(fault.Data, "read %s: it is no private key", o.KeyFile)
		}
		return signer, nil
	}
	passphrase, err := httpx.ReadToken(env, o.PassphraseFile)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKeyWithPassphrase(text, []byte(passphrase))
	if err != nil {
		return nil, fault.New(fault.Permission, "read %s: the passphrase in %s is wrong, or it is no private key", o.KeyFile, o.PassphraseFile)
	}
	return signer, nil
}
