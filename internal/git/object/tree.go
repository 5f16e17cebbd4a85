package object

import (
	"bytes"
	"iter"

	"github.com/slipway-init/slipway/internal/fault"
)

// Mode is what a tree's entry is. Git knows no other file modes than these.
type Mode uint32

// The modes.
const (
	ModeDir        Mode = 0o040000
	ModeFile       Mode = 0o100644
	ModeExecutable Mode = 0o100755
	ModeSymlink    Mode = 0o120000
	ModeSubmodule  Mode = 0o160000 // the id is a commit of another repository
)

// Entry is one name in a tree.
type Entry struct {
	Mode Mode
	Name string // never empty, without a slash or a zero byte; whether it is fit for a file system is for others to say
	ID   ID
}

// Entries returns the entries of a tree's content, in its order, until one is malformed.
func Entries(content []byte, f Format) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for len(content) > 0 {
			e, rest, ok := entry(content, f)
			if !ok {
				yield(Entry{}, fault.New(fault.Data, "a tree is malformed"))
				return
			}
			content = rest
			if !yield(e, nil) {
				return
			}
		}
	}
}

// entry reads the first entry: mode in octal, space, name, zero byte, id.
func entry(content []byte, f Format) (e Entry, rest []byte, ok bool) {
	space := bytes.IndexByte(content, ' ')
	end := bytes.IndexByte(content, 0)
	if space < 1 || space > 6 || end <= space+1 || len(content) < end+1+f.Size() {
		return Entry{}, nil, false
	}
	var mode uint32
	for _, digit := range content[:space] {
		if digit < '0' || digit > '7' {
			return Entry{}, nil, false
		}
		mode = mode<<3 | uint32(digit-'0')
	}
	name := content[space+1 : end]
	if bytes.IndexByte(name, '/') >= 0 {
		return Entry{}, nil, false
	}
	e = Entry{Name: string(name), ID: RawID(content[end+1 : end+1+f.Size()])}
	if e.Mode, ok = canonical(mode); !ok {
		return Entry{}, nil, false
	}
	return e, content[end+1+f.Size():], true
}

// canonical returns the mode that git takes mode for, as canon_mode does: old trees have 100664 and the like.
func canonical(mode uint32) (Mode, bool) {
	switch mode & 0o170000 {
	case 0o100000:
		if mode&0o100 != 0 {
			return ModeExecutable, true
		}
		return ModeFile, true
	case uint32(ModeDir), uint32(ModeSymlink), uint32(ModeSubmodule):
		return Mode(mode & 0o170000), true
	}
	return 0, false
}
