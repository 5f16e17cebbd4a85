package fetch

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/transfer"
)

// Digest is a SHA-256 as an option takes it; nil is none.
type Digest []byte

// String returns the digest in hexadecimal.
func (d *Digest) String() string { return hex.EncodeToString(*d) }

// Set parses 64 hexadecimal digits, in front of which "sha256:" may stand.
func (d *Digest) Set(text string) error {
	digest, ok := parseDigest(strings.TrimPrefix(text, "sha256:"))
	if !ok {
		return fmt.Errorf("%q is not a SHA-256: it has 64 hexadecimal digits", text)
	}
	*d = digest
	return nil
}

// Type returns "sha256".
func (*Digest) Type() string { return "sha256" }

// JSONSchema implements opt.Schemer.
func (*Digest) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^(sha256:)?[0-9a-fA-F]{64}$"}
}

func parseDigest(text string) ([]byte, bool) {
	digest, err := hex.DecodeString(text)
	return digest, err == nil && len(digest) == sha256.Size
}

const (
	// maxManifest bounds a manifest, in bytes: some hundred thousand names.
	maxManifest = 16 << 20
	// patience is how long a server may take to send it.
	patience = time.Minute
)

// digests are those of a manifest, by name; nil when it has not been read.
type digests map[string][sha256.Size]byte

// digestOf returns what the manifest says of the object of that name: by its whole name, or, if that is not there, by the
// last element of it. A manifest that is nothing but one digest is of any name.
func (f *Fetching) digestOf(ctx context.Context, name string) ([]byte, error) {
	if err := f.readManifest(ctx); err != nil {
		return nil, err
	}
	for _, known := range []string{name, path.Base(name)} {
		if digest, ok := f.digests[known]; ok {
			return digest[:], nil
		}
	}
	if digest, ok := f.digests[""]; ok && len(f.digests) == 1 {
		return digest[:], nil
	}
	return nil, fault.Hint(fault.New(fault.Data, "%s has no digest of %s", f.sha256File, name),
		"its names are relative to the prefix, or are the objects' own; leave out what has none with --exclude")
}

// readManifest reads the manifest, unless that is done.
func (f *Fetching) readManifest(ctx context.Context) error {
	f.reading.Lock()
	defer f.reading.Unlock()
	if f.digests != nil {
		return nil
	}
	text, err := f.manifest(ctx)
	if err != nil {
		return err
	}
	if f.digests, err = parseManifest(text); err != nil {
		return fmt.Errorf("%s: %w", f.sha256File, err)
	}
	return nil
}

// manifest returns the text of the manifest.
func (f *Fetching) manifest(ctx context.Context) ([]byte, error) {
	if f.Manifest() == "" {
		file, err := os.OpenFile(f.Env.Path(filepath.Clean(f.sha256File)), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.sha256File, fault.Cause(err))
		}
		defer file.Close()
		return limited(file, f.sha256File)
	}
	object := f.ManifestObject
	var text []byte
	err := f.Env.Retry(ctx, "manifest", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		answer, err := object.Get(ctx, transfer.Range{}, "")
		if err != nil {
			return fmt.Errorf("fetch %s: %w", object, err)
		}
		defer answer.Body.Close()
		text, err = limited(answer.Body, object.String())
		return err
	})
	return text, err
}

// limited reads all of r, which is called name.
func limited(r io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, httpx.Garbled(fault.Cause(err)))
	}
	if len(text) > maxManifest {
		return nil, fault.New(fault.Data, "read %s: it is over %d bytes", name, maxManifest)
	}
	return text, nil
}

// parseManifest reads what sha256sum writes: lines of "DIGEST  NAME" or, with --tag, "SHA256 (NAME) = DIGEST". A line that is
// a digest alone is of the name "". Comments begin with "#".
func parseManifest(text []byte) (digests, error) {
	all := make(digests)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimRight(lines.Text(), "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, digest, ok := parseLine(line)
		if !ok {
			return nil, fault.New(fault.Data, "line %d is not of the form of sha256sum", number)
		}
		if other, twice := all[name]; twice && other != digest {
			return nil, fault.New(fault.Data, "line %d: there are two digests of %q", number, name)
		}
		all[name] = digest
	}
	if err := lines.Err(); err != nil {
		return nil, fault.As(fault.Data, err)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Data, "it has no digest")
	}
	return all, nil
}

// parseLine reads one line of a manifest. A backslash at its beginning says that the name has escapes.
func parseLine(line string) (name string, digest [sha256.Size]byte, ok bool) {
	line, escaped := strings.CutPrefix(line, `\`)
	hex, name, named := strings.Cut(line, " ")
	if tagged, isTagged := strings.CutPrefix(line, "SHA256 ("); isTagged {
		end := strings.LastIndex(tagged, ") = ")
		if end < 0 {
			return "", digest, false
		}
		name, hex = tagged[:end], tagged[end+len(") = "):]
	} else if named && strings.IndexAny(name, " *") == 0 {
		name = name[1:] // a mark: text or binary
	}
	if escaped {
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
	}
	parsed, ok := parseDigest(hex)
	copy(digest[:], parsed)
	return strings.TrimPrefix(name, "./"), digest, ok
}

// manifestLine returns the line that sha256sum would write.
func manifestLine(digest []byte, name string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	mark := ""
	if escaped != name {
		mark = `\`
	}
	return fmt.Sprintf("%s%x  %s\n", mark, digest, escaped)
}

// digestSuffix ends the name of the digest beside a file.
const digestSuffix = ".sha256"

// writeDigest writes the digest of the file dest beside it.
func (f *Fetching) writeDigest(ctx context.Context, dest string, digest []byte) error {
	line := manifestLine(digest, filepath.Base(dest))
	_, err := atomicfile.Write(ctx, f.Env, f.Env.Path(dest+digestSuffix), strings.NewReader(line), f.attributes())
	return err
}
