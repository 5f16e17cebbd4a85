package gitclone

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/address"
	"github.com/slipway-init/slipway/internal/git/lfs"
	"github.com/slipway-init/slipway/internal/git/wire"
	"github.com/slipway-init/slipway/internal/git/worktree"
	"github.com/slipway-init/slipway/internal/step/opt"
	"github.com/slipway-init/slipway/internal/transfer"
)

// downloads is how many LFS objects are downloaded side by side.
const downloads = 2

// connections is how many connections a large one may use.
const connections = 8

// lfsFiles puts the content of LFS files into their places, where their pointers are.
func (r *repository) lfsFiles(ctx context.Context, files []worktree.LFSFile) error {
	if len(files) == 0 {
		return nil
	}
	places := make(map[lfs.Pointer][]worktree.LFSFile)
	var pointers []lfs.Pointer
	for _, f := range files {
		p, err := lfs.ParsePointer(f.Pointer)
		if err != nil {
			return fmt.Errorf("read %q: %w", f.Path, err)
		}
		if places[p] == nil {
			pointers = append(pointers, p)
		}
		places[p] = append(places[p], f)
		r.bytes += p.Size - int64(len(f.Pointer))
	}
	server, err := r.access.lfsServer(ctx, r.address)
	if err != nil {
		return err
	}
	for len(pointers) > 0 {
		n := min(len(pointers), lfs.Batch)
		sources, err := server.Locate(ctx, pointers[:n])
		if err != nil {
			return err
		}
		if err := r.download(ctx, server, sources, places); err != nil {
			return err
		}
		pointers = pointers[n:]
	}
	return nil
}

// download downloads objects side by side, each to all its places.
func (r *repository) download(ctx context.Context, server *lfs.Server, sources []lfs.Source, places map[lfs.Pointer][]worktree.LFSFile) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(downloads, len(sources)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(sources) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				for _, file := range places[sources[i].Pointer] {
					if err := r.lfsFile(ctx, server, sources[i], file); err != nil {
						cancel(fmt.Errorf("write %q: %w", file.Path, err))
					}
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// lfsFile downloads one object over the pointer in a file. The path is safe to use: the directories are this run's own, and
// no other user may enter them yet.
func (r *repository) lfsFile(ctx context.Context, server *lfs.Server, source lfs.Source, file worktree.LFSFile) error {
	digest, err := hex.DecodeString(source.OID)
	if err != nil {
		return fault.New(fault.Internal, "the pointer was not checked")
	}
	attributes := atomicfile.Attributes{Mode: opt.Mode(worktree.Permission(file.Mode)), Unsynced: true}
	f, err := transfer.Open(r.env, filepath.Join(r.root.Name(), filepath.FromSlash(file.Path)), attributes)
	if err != nil {
		return err
	}
	defer f.Close()
	result, err := f.Fetch(ctx, server.Object(source), transfer.Options{Connections: connections, SHA256: digest, Progress: r.env.Report})
	if err != nil {
		return err
	}
	if result.Size != source.Size {
		return fault.New(fault.Data, "git LFS object %s has %d bytes, and its pointer says %d", source.OID, result.Size, source.Size)
	}
	return f.Commit()
}

// lfsServer returns where the LFS objects of the repository at a are asked for. Over SSH the server tells, with a token.
func (c *access) lfsServer(ctx context.Context, a address.Address) (*lfs.Server, error) {
	client, err := c.tls.Client(c.env)
	if err != nil {
		return nil, err
	}
	switch a.Scheme {
	case address.HTTP, address.HTTPS:
		authorize, err := c.authorize(ctx, a)
		if err != nil {
			return nil, err
		}
		u := a.URL()
		u.User = nil
		if u.Path = strings.TrimRight(u.Path, "/"); !strings.HasSuffix(u.Path, ".git") {
			u.Path += ".git"
		}
		return &lfs.Server{URL: u.JoinPath("info/lfs"), Client: client, Authorize: authorize}, nil
	case address.SSH:
		return c.lfsOverSSH(ctx, a, client)
	}
	return nil, fault.Hint(fault.New(fault.Unsupported, "%s: there is no git LFS at such an address", a), "clone by https:// or ssh://")
}

// lfsOverSSH asks the SSH server where its LFS server is: git-lfs-authenticate, see docs/api/server-discovery.md of git-lfs.
func (c *access) lfsOverSSH(ctx context.Context, a address.Address, client *http.Client) (*lfs.Server, error) {
	transport, err := c.ssh(ctx, a)
	if err != nil {
		return nil, err
	}
	defer transport.Close()
	text, err := transport.Output(ctx, "git-lfs-authenticate "+wire.Quoted(strings.TrimPrefix(a.Path, "/"))+" download")
	if err != nil {
		return nil, fault.Hint(err, "git LFS over SSH needs git-lfs-authenticate on the server, as the forges have it; or clone by https://")
	}
	var told struct {
		Href   string            `json:"href"`
		Header map[string]string `json:"header"`
	}
	if err := json.Unmarshal(text, &told); err != nil {
		return nil, fault.New(fault.Data, "%s: git-lfs-authenticate does not answer in JSON", a)
	}
	u, err := url.Parse(told.Href)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fault.New(fault.Data, "%s: git-lfs-authenticate names no HTTP server", a)
	}
	return &lfs.Server{URL: u, Client: client, Authorize: func(r *http.Request) {
		for name, value := range told.Header {
			r.Header.Set(name, value)
		}
	}}, nil
}
