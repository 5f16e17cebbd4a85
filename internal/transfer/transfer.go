// Package transfer fetches one remote object into a file: in parts, over several connections at once, verified while the
// parts arrive, and continued where a killed run stopped.
//
// # How a fetch goes
//
// The first request asks for the first part; its answer tells the object's size and version. The file gets room for the
// whole. Then connections (connection.go) take parts from a schedule (schedule.go), always the lowest that is left, and
// write them in place. One with nothing left to take takes half of what the slowest still has. A governor
// (governor.go) adds connections while that makes the whole faster, takes some away when the server asks for patience, and
// gives up a connection that is slow beside the others. One follower (exchange.go) takes the object's bytes in their order
// and hashes them, just behind the connections: from memory (ahead.go), where the chunks that are needed next are kept, and
// else from the file, which is still in the page cache, since parts may not run further ahead than a window. All that is
// whole is noted in a journal at the end of the file itself (journal.go).
//
// # Memory
//
// A connection has one buffer of a quarter of a MiB, and at most 24 MiB, or an eighth of what there is, wait for the
// follower: nothing grows with the object.
//
// # What is trusted
//
// A journal is trusted if the machine has not been booted since, and if it is of the same object, size and version. The
// follower reads what an earlier run has written all the same, so that a digest is always of every byte.
package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Source is a remote object.
type Source interface {
	// String names the object in errors and in the journal: a URL without its secrets.
	String() string
	// Get asks for a range of the object. When version is not empty the answer must be of that version, and
	// ErrChanged if there is another one now. The range may be answered by the whole object.
	Get(ctx context.Context, r Range, version string) (*Answer, error)
}

// ErrChanged is the error of a Source whose object has been replaced by another version.
var ErrChanged = errors.New("it was replaced by another version meanwhile")

// Range is a range of an object, in bytes. The zero value is the whole object.
type Range struct {
	Offset int64
	Length int64 // 0 is to the object's end
}

// Unknown is a size or length that the server did not tell.
const Unknown = -1

// Answer is what a server sends.
type Answer struct {
	Body   io.ReadCloser
	Offset int64 // of the body's first byte in the object
	Length int64 // of the body, or Unknown
	Size   int64 // of the object, or Unknown
	// Version tells this version of the object from every other one, such as an S3 version id or a strong ETag. Without
	// it an object that is replaced in the middle is noticed by its digest alone, and nothing is continued without one.
	Version string
	// Proofs returns what the server itself says of the object's content. It may ask the server again. nil is nothing.
	Proofs func(ctx context.Context) ([]Proof, error)
}

// Proof is fed with the object's bytes from first to last and then knows whether they are the right ones.
type Proof interface {
	io.Writer
	// Verify returns nil or a fault of the kind Data. It may read the object again.
	Verify(ctx context.Context, object io.Reader) error
}

// Options are how an object is fetched. The zero value fetches it by a good number of connections, and proves it by what
// the server says of it.
type Options struct {
	Connections int    // the most at once; 0 is 16
	SHA256      []byte // what the object must have; nil is not known, and then the server's own proofs are asked for
	// Whole asks for the whole object at once, which is known to be Small.
	Whole bool
	// Follow, if not nil, begins to take the object's bytes from first to last, while they arrive. It is called again
	// when the object is fetched again from its beginning. It may have work to do when all is fetched, and the fetch's own
	// contexts are over.
	Follow func() Follower
	// Progress, if not nil, is told from time to time how many bytes are there.
	Progress func(done, total int64)
	// Memory is what the process and its page cache may use, in bytes; 0 is plenty. The less there is, the nearer to each
	// other the connections stay.
	Memory int64
}

// Follower takes the bytes of an object from first to last. They are not proven yet.
type Follower interface {
	io.Writer
	// Close ends it: with nil when it has got the whole object, else with the reason why it will not. What it then
	// returns is the fetch's error, if that has none.
	Close(err error) error
}

// Small is the size up to which an object takes one request, in bytes.
const Small = firstPart

// defaultConnections is the most that a fetch uses at once where nothing else is said.
const defaultConnections = 16

// Result is what came of a fetch.
type Result struct {
	Size      int64
	SHA256    []byte
	Version   string
	Proven    bool  // by a digest that was given or by what the server says
	Continued int64 // bytes that an earlier run had fetched
	Requests  int64
	Retries   int64 // requests that failed and were made again
	Stalls    int64 // connections that were given up because they were slow beside the others
	Most      int   // connections at once
	Elapsed   time.Duration
}

// Rate returns how many bytes came in a second, without those of an earlier run.
func (r Result) Rate() int64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return int64(float64(r.Size-r.Continued) / r.Elapsed.Seconds())
}

// File is a file that an object is fetched into.
type File struct {
	*atomicfile.File
	env    *step.Env
	found  bool // there was something of an earlier run
	broken bool // what is there is of no use to a later run
}

// Open begins a file that Commit will put at path, or continues what a killed run has left of it. The caller must call
// Close.
func Open(env *step.Env, path string, a atomicfile.Attributes) (*File, error) {
	f, found, err := atomicfile.Continue(env, path, a)
	if err != nil {
		return nil, err
	}
	return &File{File: f, env: env, found: found, broken: true}, nil
}

// OpenTemporary is Open for a small object: nothing is continued.
func OpenTemporary(env *step.Env, path string, a atomicfile.Attributes) (*File, error) {
	f, err := atomicfile.Create(env, path, a)
	if err != nil {
		return nil, err
	}
	return &File{File: f, env: env, broken: true}, nil
}

// OpenScratch is Open for a file that is never committed: what is fetched of an archive that becomes the directory at path.
func OpenScratch(env *step.Env, path string) (*File, error) {
	f, found, err := atomicfile.Scratch(env, path)
	if err != nil {
		return nil, err
	}
	return &File{File: f, env: env, found: found, broken: true}, nil
}

// Hex returns a digest as manifests and outputs have it.
func Hex(digest []byte) string { return hex.EncodeToString(digest) }

// Close leaves what is worth it to a later run, and removes the rest. It does nothing after a Commit.
func (f *File) Close() {
	if f.broken {
		f.Abort()
		return
	}
	f.Keep()
}

// versions is how often an object may be replaced while it is fetched.
const versions = 4

// Fetch fetches the object that source has into f. It returns when every byte is written and proven; Commit publishes it
// then. An object that is replaced in the middle is fetched again from its beginning. A wrong digest is Data.
func (f *File) Fetch(ctx context.Context, source Source, o Options) (Result, error) {
	for n, began := 1, time.Now(); ; n++ {
		x := &exchange{file: f, source: source, options: o}
		err := x.run(ctx)
		x.result.Elapsed = time.Since(began)
		again := errors.Is(err, ErrChanged)
		if again && n == versions {
			return x.result, fault.New(fault.Temporary, "%w, %d times", err, n)
		}
		f.broken = err == nil || x.journal == nil || ctx.Err() == nil && !fault.KindOf(err).Transient()
		// What was continued may be what is wrong.
		if !again && (fault.KindOf(err) != fault.Data || x.result.Continued == 0) {
			return x.result, err
		}
		f.found = false
	}
}
