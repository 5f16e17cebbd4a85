package gitclone

import (
	"context"
	"errors"
	"net/http"
	"os"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/address"
	"github.com/slipway-init/slipway/internal/git/githubapp"
	"github.com/slipway-init/slipway/internal/git/local"
	"github.com/slipway-init/slipway/internal/git/netrc"
	"github.com/slipway-init/slipway/internal/git/sshconfig"
	"github.com/slipway-init/slipway/internal/git/wire"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// access reaches servers: the one that was named, with all that proves who asks, and those of submodules, with what is
// meant for them.
type access struct {
	*options
	env  *step.Env
	home address.Address // the one that user, password and token are for

	appToken string // once it was asked for
}

// connect begins a conversation with the server of a, or opens a repository on this machine.
func (c *access) connect(ctx context.Context, a address.Address) (server, error) {
	if a.Scheme == address.Local {
		return local.Open(c.env.Path(a.Path), unnamed)
	}
	transport, err := c.transport(ctx, a)
	if err != nil {
		return nil, err
	}
	client, err := wire.Connect(ctx, transport)
	if err != nil {
		return nil, err
	}
	return client, nil
}

func (c *access) transport(ctx context.Context, a address.Address) (wire.Transport, error) {
	switch a.Scheme {
	case address.HTTP, address.HTTPS:
		client, err := c.tls.Client(c.env)
		if err != nil {
			return nil, err
		}
		authorize, err := c.authorize(ctx, a)
		if err != nil {
			return nil, err
		}
		u := a.URL()
		u.User = nil
		return &wire.HTTP{Client: client, URL: u, Authorize: authorize}, nil
	case address.Git:
		return &wire.Daemon{Dial: c.env.Dial, Address: a.Endpoint(), Path: a.Path}, nil
	case address.SSH:
		return c.ssh(ctx, a)
	}
	return nil, fault.New(fault.Unsupported, "%s: this kind of address is not known", a)
}

// ssh returns the transport over SSH. The key may go to any server: it proves who asks and gives nothing away.
func (c *access) ssh(ctx context.Context, a address.Address) (*wire.SSH, error) {
	o := sshconfig.Options{User: a.User, KeyFile: c.sshKey, PassphraseFile: c.sshPassphraseFile, KnownHosts: c.knownHosts}
	if o.User == "" {
		o.User = "git"
	}
	config, done, err := sshconfig.New(ctx, c.env, a.Endpoint(), o)
	if err != nil {
		return nil, err
	}
	return &wire.SSH{Dial: c.env.Dial, Address: a.Endpoint(), Path: a.Path, Config: config, Done: done}, nil
}

// authorize returns what adds to a request who asks; nil is nobody. The options' user and tokens go to the host that was
// named, the others have theirs in the netrc file.
func (c *access) authorize(ctx context.Context, a address.Address) (func(*http.Request), error) {
	if a.SameServer(c.home) {
		switch {
		case c.app.id != "":
			token, err := c.githubToken(ctx)
			return basic(githubapp.User, token), err
		case c.bearerFile != "":
			token, err := c.secret(c.bearerFile)
			return bearer(token), err
		case c.passwordFile != "":
			password, err := c.secret(c.passwordFile)
			user := c.username
			if user == "" {
				user = a.User
			}
			if user == "" {
				user = "git" // the forges look at the token alone
			}
			return basic(user, password), err
		}
	}
	if c.netrcFile == "" {
		return nil, nil
	}
	text, err := httpx.ReadFile(c.env, c.netrcFile)
	if err != nil {
		return nil, err
	}
	user, password, ok := netrc.Find(string(text), a.Host, a.User)
	if !ok {
		return nil, nil
	}
	return basic(user, password), nil
}

// githubToken returns a token of the app's installation, the same one for all repositories of a run.
func (c *access) githubToken(ctx context.Context) (string, error) {
	if c.appToken != "" {
		return c.appToken, nil
	}
	key, err := httpx.ReadFile(c.env, c.app.keyFile)
	if err != nil {
		return "", err
	}
	client, err := c.tls.Client(c.env)
	if err != nil {
		return "", err
	}
	a := githubapp.App{ID: c.app.id, Installation: c.app.installation, Key: key, API: c.api()}
	c.appToken, err = a.Token(ctx, client)
	return c.appToken, err
}

// secret returns the content of a file with a password, which must not be empty.
func (c *access) secret(file string) (string, error) {
	text, err := httpx.ReadToken(c.env, file)
	if err == nil && text == "" {
		err = fault.New(fault.Data, "read %s: it is empty", file)
	}
	return text, err
}

func basic(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// unnamed makes a file without a name, for what a repository on this machine has that does not fit in memory.
func unnamed() (*os.File, error) {
	f, err := os.CreateTemp("", "slipway-git-")
	if err != nil {
		return nil, fault.Output(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fault.Output(err), f.Close())
	}
	return f, nil
}
