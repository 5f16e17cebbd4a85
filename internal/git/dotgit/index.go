package dotgit

import (
	"bufio"
	"crypto/sha1" // #nosec: git's format
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
)

// Index is git's index while it is being written: version 2, with what lstat(2) says of each file, so that git status
// need not read them. The entries go to a file of their own until their number is known.
type Index struct {
	root   *os.Root
	file   *os.File
	out    *bufio.Writer
	format object.Format
	count  uint32
	entry  []byte
}

func newIndex(root *os.Root, file *os.File, f object.Format) *Index {
	return &Index{root: root, file: file, out: bufio.NewWriterSize(file, 64<<10), format: f}
}

// Add adds an entry; they come in the order of their paths. Info is nil for a submodule.
func (x *Index) Add(path string, mode object.Mode, id object.ID, info fs.FileInfo) error {
	const fixed = 62 // with an id of SHA-1
	e := x.entry[:0]
	for _, field := range statFields(info) {
		e = binary.BigEndian.AppendUint32(e, field)
	}
	// ctime, mtime (two fields each), dev, ino; then the mode; then uid, gid, size.
	binary.BigEndian.PutUint32(e[24:], uint32(mode))
	e = append(e, id.Bytes()...)
	e = binary.BigEndian.AppendUint16(e, uint16(min(len(path), 0xfff)))
	e = append(e, path...)
	// One to eight zero bytes make the length a multiple of eight.
	length := fixed - 20 + x.format.Size() + len(path)
	e = append(e, make([]byte, 8-length%8)...)
	x.entry = e
	x.count++
	_, err := x.out.Write(e)
	return fault.Output(err)
}

// Finish writes the index.
func (x *Index) Finish() error {
	defer x.file.Close()
	if err := x.out.Flush(); err != nil {
		return fault.Output(err)
	}
	if _, err := x.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f, err := x.root.OpenFile("index", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fault.Output(err)
	}
	var sum hash.Hash = sha1.New() // #nosec: git's format
	if x.format == object.SHA256 {
		sum = sha256.New()
	}
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 64<<10)
	head := binary.BigEndian.AppendUint32(append([]byte("DIRC"), 0, 0, 0, 2), x.count)
	_, err = w.Write(head)
	if err == nil {
		_, err = io.Copy(w, x.file)
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		_, err = f.Write(sum.Sum(nil))
	}
	return fault.Output(errors.Join(err, f.Close()))
}
