// Package fetch is what s3-fetch and http-fetch share: it proves, places, unpacks and remembers what package transfer
// brings.
//
// One object becomes a file (file.go) or, unpacked, a directory (unpack.go); the objects below a prefix become a tree of files
// (tree.go). What each of them must be is known by a digest, given or in a manifest (digest.go), or by what the server
// says of it; a receipt (internal/receipt) remembers it, so that a second run asks for nothing, or for the version alone.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/archive"
	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/glob"
	"github.com/slipway-init/slipway/internal/memory"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
	"github.com/slipway-init/slipway/internal/transfer"
)

// Policy is that of a step that fetches. There is no timeout: nobody knows how large an object is, and a transfer that
// stalls is noticed as such.
var Policy = step.Policy{Retries: 10, Backoff: 200 * time.Millisecond, MaxBackoff: 20 * time.Second, Parts: true}

// Object is a remote object.
type Object interface {
	transfer.Source
	// Identity is what receipts call the object. It differs for any two objects, where String may leave out what tells them
	// apart, and has no secret either.
	Identity() string
	// Unchanged reports whether the object's version is still that one. It asks the server.
	Unchanged(ctx context.Context, version string) (bool, error)
}

// Options are the options that the steps share.
type Options struct {
	Dest string

	sha256      Digest
	sha256File  string
	writeSHA256 bool
	extract     extraction
	limits      archive.Limits
	strip       int
	include     []string
	exclude     []string
	mode        opt.Mode
	owner       opt.Owner
	force       bool
	connections int

	filter glob.Filter
}

// New returns the defaults.
func New() Options { return Options{mode: defaultMode, connections: 16} }

// defaultMode is that of files.
const defaultMode = 0o644

// maxConnections is the most that a fetch may use: more do not make it faster, and each costs a buffer.
const maxConnections = 64

// Flags binds the options to flags. The step itself binds the URL.
func (o *Options) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Dest, "dest", "", `file to write; a folder for what stands below a prefix or in an archive; one that ends in "/" gets the object by its own name`)
	flags.Var(&o.sha256, "sha256", "SHA-256 that the object must have, in hexadecimal")
	flags.StringVar(&o.sha256File, "sha256-file", "", "manifest with the SHA-256 of each object, as sha256sum writes it: a file or a URL")
	flags.BoolVar(&o.writeSHA256, "write-sha256", false, "write the digest too, as sha256sum would: to DEST.sha256, or to SHA256SUMS in the folder")
	flags.Var(&o.extract, "extract", "unpack the object into the folder DEST: auto, tar, tar.gz, tar.zst, tar.bz2, zip")
	flags.Lookup("extract").NoOptDefVal = string(archive.Auto)
	flags.Var(&o.limits, archive.LimitsOption, "what an archive may unpack to, such as bytes=20Gi,entries=2000000,ratio=1000")
	flags.IntVar(&o.strip, "strip-components", 0, "leading folders to leave out of the names in an archive")
	flags.StringArrayVar(&o.include, "include", nil, "take only what matches this pattern; repeats")
	flags.StringArrayVar(&o.exclude, "exclude", nil, "leave out what matches this pattern; repeats")
	flags.Var(&o.mode, "mode", "mode of the files, in octal; of the folder itself with --extract")
	flags.Var(&o.owner, "owner", "numeric owner of all that is written, UID:GID, UID or :GID")
	flags.BoolVar(&o.force, "force", false, "replace a folder that slipway did not make, with --extract")
	flags.IntVar(&o.connections, "connections", o.connections, "the most connections at once")
}

// Effects checks the options against each other and returns what is written. Many says that the URL names many objects.
func (o *Options) Effects(many bool) ([]step.Effect, error) {
	var faults []error
	var err error
	if o.filter, err = glob.New(o.include, o.exclude); err != nil {
		faults = append(faults, err)
	}
	extracts := o.extract.format != archive.None
	for _, rule := range []struct {
		broken bool
		told   string
	}{
		{many && extracts, "--extract is for one archive, and the URL names a prefix"},
		{many && o.sha256 != nil, "--sha256 is of one object, and the URL names a prefix: give --sha256-file"},
		{o.sha256 != nil && o.sha256File != "", "--sha256 and --sha256-file both say what the digest is"},
		{!many && extracts && o.writeSHA256, "--write-sha256 writes beside a file, and --extract leaves none"},
		{!many && !extracts && !o.filter.All(), "--include and --exclude choose among the objects below a prefix or the files of an archive, and there is but one object"},
		{!extracts && o.strip != 0, "--strip-components is for --extract"},
		{!extracts && o.limits != (archive.Limits{}), "--" + archive.LimitsOption + " is for --extract"},
		{!extracts && o.force, "--force is for --extract"},
		{extracts && o.strip < 0, fmt.Sprintf("--strip-components %d is below 0", o.strip)},
		{o.connections < 1 || o.connections > maxConnections, fmt.Sprintf("--connections %d is not between 1 and %d", o.connections, maxConnections)},
	} {
		if rule.broken {
			faults = append(faults, fault.New(fault.Usage, "%s", rule.told))
		}
	}
	written, err := o.written(many || extracts)
	if err != nil {
		faults = append(faults, err)
	}
	return append(o.read(), written...), errors.Join(faults...)
}

// written returns the effects of writing.
func (o *Options) written(tree bool) ([]step.Effect, error) {
	effects, err := atomicfile.Effects("dest", o.Dest, o.owner)
	if err != nil {
		return nil, err
	}
	for i := range effects {
		if tree || strings.HasSuffix(o.Dest, "/") {
			effects[i].Object = path.Join(effects[i].Object, "...")
		}
	}
	if o.writeSHA256 && !tree && !strings.HasSuffix(o.Dest, "/") {
		effects = append(effects, step.Effect{Verb: step.Write, Object: filepath.Clean(o.Dest) + digestSuffix})
	}
	return effects, nil
}

// read returns the effects of reading the manifest.
func (o *Options) read() []step.Effect {
	if o.sha256File == "" || strings.Contains(o.sha256File, "://") {
		return nil // the step says whom it dials
	}
	return []step.Effect{{Verb: step.Read, Object: filepath.Clean(o.sha256File)}}
}

// Manifest returns the URL of the manifest, or "" if there is none or if it is a file.
func (o *Options) Manifest() string {
	if strings.Contains(o.sha256File, "://") {
		return o.sha256File
	}
	return ""
}

// Connections returns the most connections that there may be at once.
func (o *Options) Connections() int { return o.connections }

// Fetching is one fetch with its options and what it may touch.
type Fetching struct {
	*Options
	Env *step.Env
	// ManifestObject is the manifest at a URL (see Manifest), if there is one.
	ManifestObject Object

	reading sync.Mutex
	digests digests
}

// One fetches one object, of that name, into a file or unpacks it into a folder.
func (f *Fetching) One(ctx context.Context, object Object, name string) error {
	want := []byte(f.sha256)
	if f.sha256File != "" {
		var err error
		if want, err = f.digestOf(ctx, name); err != nil {
			return err
		}
	}
	dest := f.Dest
	if strings.HasSuffix(dest, "/") && f.extract.format == archive.None {
		dest = path.Join(dest, path.Base(name))
	}
	if f.extract.format != archive.None {
		return f.unpack(ctx, object, dest, want)
	}
	outcome, err := f.file(ctx, object, dest, want, f.transferred())
	if err != nil {
		return err
	}
	if f.writeSHA256 {
		if err := f.writeDigest(ctx, dest, outcome.sha256); err != nil {
			return err
		}
	}
	f.tell(outcome)
	return nil
}

// outcome is what came of one object.
type outcome struct {
	bytes   int64
	sha256  []byte
	version string
	proven  bool
	skipped string // why nothing was fetched, or ""
	transfer.Result
}

// tell gives the outputs of one object.
func (f *Fetching) tell(o outcome) {
	output := f.Env.Output
	output("bytes", strconv.FormatInt(o.bytes, 10))
	output("sha256", transfer.Hex(o.sha256))
	if o.version != "" {
		output("version", o.version)
	}
	if o.skipped != "" {
		output(step.Skipped, o.skipped)
		return
	}
	output("verified", strconv.FormatBool(o.proven))
	output("requests", strconv.FormatInt(o.Requests, 10))
	output("connections", strconv.Itoa(o.Most))
	output("rate", strconv.FormatInt(o.Rate(), 10)) // bytes a second
	if o.Continued > 0 {
		output("continued", strconv.FormatInt(o.Continued, 10))
	}
	if o.Retries > 0 {
		output("retried", strconv.FormatInt(o.Retries, 10))
	}
	if o.Stalls > 0 {
		output("stalled", strconv.FormatInt(o.Stalls, 10))
	}
	if !o.proven {
		f.Env.Log.Warn("not verified: no digest was given, and the server has none", "sha256", transfer.Hex(o.sha256))
	}
}

// transferred returns how objects are fetched.
func (f *Fetching) transferred() transfer.Options {
	limit, _ := memory.Limit()
	return transfer.Options{Connections: f.connections, Memory: limit, Progress: f.Env.Report}
}

// attributes returns what files are given.
func (f *Fetching) attributes() atomicfile.Attributes {
	return atomicfile.Attributes{Mode: f.mode, Owner: f.owner}
}

// missing reports whether err says that there is nothing at a path.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
