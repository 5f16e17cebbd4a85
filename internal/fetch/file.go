package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"github.com/slipway-init/slipway/internal/archive"
	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/transfer"
)

// The facts of a receipt.
const (
	factSHA256  = "sha256"
	factVersion = "version"
	factBytes   = "bytes"
)

// file fetches an object into the file dest, unless it is there and right. Want is the digest that it must have, nil if
// nobody knows.
func (f *Fetching) file(ctx context.Context, object Object, dest string, want []byte, o transfer.Options) (outcome, error) {
	path := f.Env.Path(dest)
	if there, ok, err := f.there(ctx, object, path, want); ok || err != nil {
		return there, err
	}
	file, err := transfer.Open(f.Env, path, f.attributes())
	if err != nil {
		return outcome{}, err
	}
	defer file.Close()
	o.SHA256 = want
	result, err := file.Fetch(ctx, object, o)
	if err != nil {
		return outcome{}, err
	}
	fetched := outcomeOf(result)
	if _, same := f.holds(ctx, object, path, result.SHA256); same {
		fetched.skipped = sameAsBefore
		_, err = atomicfile.Mend(f.Env, path, f.attributes())
	} else {
		err = file.Commit()
	}
	if err != nil {
		return outcome{}, err
	}
	f.remember(ctx, object, path, fetched)
	return fetched, nil
}

// outcomeOf returns what came of an object that was fetched.
func outcomeOf(r transfer.Result) outcome {
	return outcome{bytes: r.Size, sha256: r.SHA256, version: r.Version, proven: r.Proven, Result: r}
}

// sameAsBefore is why an object that had to be fetched to know it was not put in its own place.
const sameAsBefore = "the object is another version, or has none, and its content is the same"

// holds reports whether what stands at path is, by its receipt, which it returns, what the object with that digest became.
func (f *Fetching) holds(ctx context.Context, object Object, path string, sha256 []byte) (receipt.Receipt, bool) {
	r, ok := receipt.Read(path)
	facts := map[string]string{factSHA256: transfer.Hex(sha256)}
	return r, ok && r.Of(f.sourceOf(object), facts) && r.Untouched(ctx, path)
}

// there reports whether the file at path is the object: by its receipt, and where that says nothing, by its digest. What
// is right but for its mode or owner is mended.
func (f *Fetching) there(ctx context.Context, object Object, path string, want []byte) (outcome, bool, error) {
	known, remembered, err := f.recall(ctx, object, path, want)
	if err != nil {
		return outcome{}, false, err
	}
	if !remembered {
		if want == nil {
			return outcome{}, false, nil
		}
		size, err := hashes(ctx, path, want)
		if size < 0 || err != nil {
			return outcome{}, false, err
		}
		known = outcome{bytes: size, sha256: want, proven: true, skipped: "its SHA-256 is right already"}
	}
	changed, err := atomicfile.Mend(f.Env, path, f.attributes())
	if err != nil {
		return outcome{}, false, err
	}
	if changed || !remembered {
		f.remember(ctx, object, path, known)
	}
	return known, true, nil
}

// recall asks the receipt of what stands at path, a file or a folder. One that is untouched is right if its digest is the
// one that is wanted, or else if the server still has the version that the receipt is of.
func (f *Fetching) recall(ctx context.Context, object Object, path string, want []byte) (outcome, bool, error) {
	r, ok := receipt.Read(path)
	if !ok || !r.Of(f.sourceOf(object), nil) {
		return outcome{}, false, nil
	}
	known := outcome{version: r.Facts[factVersion], skipped: "its receipt is right"}
	known.bytes, _ = strconv.ParseInt(r.Facts[factBytes], 10, 64)
	known.sha256, _ = hex.DecodeString(r.Facts[factSHA256])
	switch {
	case want == nil && known.version == "", want != nil && !bytes.Equal(want, known.sha256), !r.Untouched(ctx, path):
		return outcome{}, false, nil
	case want == nil:
		err := f.Env.Retry(ctx, "", func(ctx context.Context) (err error) {
			if ok, err = object.Unchanged(ctx, known.version); err != nil {
				err = fmt.Errorf("ask for the version of %s: %w", object, err)
			}
			return err
		})
		return known, ok, err
	}
	return known, true, nil
}

// sourceOf returns what a receipt calls an object's source. That of a folder says how it was unpacked, too, and for whom.
func (f *Fetching) sourceOf(object Object) string {
	source := object.Identity()
	if f.extract.format != archive.None {
		source += fmt.Sprintf(" %s %d %q %q %s %s", f.extract.format, f.strip, f.include, f.exclude, &f.mode, &f.owner)
	}
	return source
}

// remember keeps the receipt of a file. Without one the next run does more work, and that is all.
func (f *Fetching) remember(ctx context.Context, object Object, path string, o outcome) {
	if err := receipt.Write(ctx, f.Env, path, f.receipt(object, o)); err != nil {
		f.Env.Log.Debug("no receipt", "error", err.Error())
	}
}

func (f *Fetching) receipt(object Object, o outcome) receipt.Receipt {
	facts := map[string]string{factSHA256: transfer.Hex(o.sha256), factBytes: strconv.FormatInt(o.bytes, 10)}
	if o.version != "" {
		facts[factVersion] = o.version
	}
	return receipt.Receipt{Source: f.sourceOf(object), Facts: facts, Synced: true}
}

// hashes returns the size of the file at path if its SHA-256 is want, and else -1. What is not there, or is no file, has
// none: to write it is another matter.
func hashes(ctx context.Context, path string, want []byte) (int64, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return -1, nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return -1, nil
	}
	size, digest, err := hash(ctx, file, info.Size(), path)
	if err != nil || !bytes.Equal(digest, want) {
		return -1, err
	}
	return size, nil
}

// hash returns the size and the SHA-256 of what r has left, which is about that much: there may be many small files.
func hash(ctx context.Context, r io.Reader, about int64, name string) (int64, []byte, error) {
	const most = 256 << 10
	sum, size, buffer := sha256.New(), int64(0), make([]byte, min(about+1, most))
	for {
		n, err := r.Read(buffer)
		sum.Write(buffer[:n])
		size += int64(n)
		switch {
		case ctx.Err() != nil:
			return 0, nil, ctx.Err()
		case err == io.EOF:
			return size, sum.Sum(nil), nil
		case err != nil:
			return 0, nil, fault.As(fault.IO, fmt.Errorf("read %s: %w", name, fault.Cause(err)))
		}
	}
}
