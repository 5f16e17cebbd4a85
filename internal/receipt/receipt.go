// Package receipt remembers what a step made, so that a second run proves in milliseconds that nothing changed.
//
// A receipt says where a file or a tree came from, what is known of it (its digest, its version, its commit), and a
// Fingerprint of what stood at the path. It is kept beside the target, under a name that package sibling gives; where
// the target is a directory that is a mount point, or one whose parent may not be written, it is kept inside, as
// ".slipway-receipt".
//
// # What it proves
//
// A fingerprint holds what lstat(2) tells, the change time and the inode included: no write, chmod, chown, replacement or
// restored modification time goes unseen, as long as the clock runs forward. A receipt is no proof against whoever may write to
// the target's directory: that one may write a receipt too, and the target after any proof. Nor is a change seen that
// leaves the size as it is and happens within the same tick of the kernel's clock (4 ms at most, before Linux 6.13) in
// which the receipt was written.
//
// Content that was not synced may be lost by a crash of the machine although lstat(2) tells of it: of it, a receipt
// of another boot is not trusted.
//
// The device number is left out: it is not that of the volume but that of a moment's mount, and changes with
// the node or the order of mounts. The inode of some network and FUSE file systems changes with a mount, too: there, the
// receipt is of no use after it, and the step does its work again. So it is when the kubelet gives the files of a volume
// to the pod's fsGroup.
//
// # What it is not
//
// A receipt is never the reason of a failure: one that cannot be read, is torn, or is another release's is as good as none.
// It holds no secrets; whoever makes it has taken passwords out of the source.
package receipt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/sibling"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Inside is the name of a receipt that is kept in the directory that it is of.
const Inside = sibling.Mark + "receipt"

const (
	version = 1       // of the form of the file
	mode    = 0o600   // it may tell names of what others must not read
	most    = 4 << 20 // bytes of a receipt that is read
	bootID  = "/proc/sys/kernel/random/boot_id"
)

// Receipt is what a step remembers of what it made.
type Receipt struct {
	Source string            `json:"source"`          // where it came from; never with a password
	Facts  map[string]string `json:"facts,omitempty"` // sha256, etag, version-id, commit, size: what the step wants to know again
	// Synced says that the content had reached the disk before the receipt was written. Otherwise it is trusted until
	// the machine starts anew.
	Synced      bool        `json:"synced"`
	Fingerprint Fingerprint `json:"fingerprint"` // filled by Write
	Boot        string      `json:"boot"`        // filled by Write: the kernel's id of the time since it started; "" is unknown
	// Made are the directories that may stand at the path and that slipway made. There is more than one while one takes
	// another's place. It is filled by package atomicdir.
	Made []Identity `json:"made,omitempty"`
}

// file is the form of a receipt on the disk.
type file struct {
	Version int `json:"slipway-receipt"`
	Receipt
}

// Read returns the receipt of what stands at path, which is used as it is: a step has put it under the env's root. It
// reports false where there is none, or none that can be read.
func Read(path string) (Receipt, bool) {
	f, err := os.OpenFile(place(path), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Receipt{}, false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return Receipt{}, false
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil || len(content) > most {
		return Receipt{}, false
	}
	return Parse(content)
}

// Parse reads the content of a receipt. It reports false for what is none.
func Parse(content []byte) (Receipt, bool) {
	var read file
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil || read.Version != version {
		return Receipt{}, false
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Receipt{}, false
	}
	return read.Receipt, true
}

// Write keeps r as the receipt of what stands at path now, a file or a tree. The caller may treat its error as a
// warning: without a receipt, the next run does more work.
func Write(ctx context.Context, env *step.Env, path string, r Receipt) error {
	fingerprint, err := Take(ctx, path, sibling.Inside(path))
	if err != nil {
		return err
	}
	r.Fingerprint = fingerprint
	return Keep(ctx, env, path, r)
}

// Keep writes r as it is, for package atomicdir, which knows the fingerprint before the tree stands at path.
func Keep(ctx context.Context, env *step.Env, path string, r Receipt) error {
	r.Boot = boot()
	content, err := json.MarshalIndent(file{version, r}, "", "  ")
	if err != nil {
		return fault.As(fault.Internal, err)
	}
	// What was made durable deserves a receipt that is: without it, a directory would be taken for somebody else's.
	attributes := atomicfile.Attributes{Mode: opt.Mode(mode), Unsynced: !r.Synced}
	_, err = atomicfile.Write(ctx, env, place(path), bytes.NewReader(append(content, '\n')), attributes)
	return err
}

// Forget removes the receipt of path, if there is one.
func Forget(path string) error {
	if err := os.Remove(place(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Output(err)
	}
	return nil
}

// place returns the path of the receipt of path.
func place(path string) string {
	path = filepath.Clean(path)
	if sibling.Inside(path) {
		return filepath.Join(path, Inside)
	}
	return filepath.Join(filepath.Dir(path), sibling.Receipt(filepath.Base(path)))
}

// Of reports whether r is of that source and has all of these facts, and maybe more.
func (r Receipt) Of(source string, facts map[string]string) bool {
	has := maps.Clone(facts)
	maps.DeleteFunc(has, func(key, value string) bool { known, ok := r.Facts[key]; return ok && known == value })
	return r.Source == source && len(has) == 0
}

// Untouched reports whether what stands at path is what r tells of, as far as lstat(2) can say. It is false when ctx
// ends.
func (r Receipt) Untouched(ctx context.Context, path string) bool {
	if now := boot(); !r.Synced && (now == "" || now != r.Boot) {
		return false
	}
	now, err := Take(ctx, path, sibling.Inside(path))
	return err == nil && !r.Fingerprint.zero() && now == r.Fingerprint
}

// MadeAt reports whether the directory at path is one that slipway made, changed or not. A receipt that is inside of it
// says so by being there.
func (r Receipt) MadeAt(path string) bool {
	if sibling.Inside(path) {
		return true
	}
	now, err := Identify(path)
	if err != nil {
		return false
	}
	for _, made := range r.Made {
		if made.same(now) {
			return true
		}
	}
	return false
}

// boot returns the kernel's id of the time since it started, or "" where it does not tell.
func boot() string {
	id, err := os.ReadFile(bootID)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
