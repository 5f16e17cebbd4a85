// Package object knows git's objects: their ids, and what a commit, a tag and a tree say. It takes bytes that somebody
// else has read and verified; gitformat-pack(5) and the comments of git's object.h, tree-walk.h and tag.c are its sources.
//
// go-git has all of it too, for objects that are twenty bytes of SHA-1 away: its Hash is of that size unless the whole
// program is built for SHA-256 instead. Here both formats live in one binary.
package object

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/pjbgf/sha1cd"

	"github.com/slipway-init/slipway/internal/fault"
)

// Format is a repository's object format: the hash that its ids are.
type Format uint8

// The formats, see gitformat-hash-function-transition(5).
const (
	SHA1 Format = iota
	SHA256
)

// ParseFormat reads a format as the protocol and extensions.objectFormat name it. No name is SHA1.
func ParseFormat(name string) (Format, error) {
	switch name {
	case "", "sha1":
		return SHA1, nil
	case "sha256":
		return SHA256, nil
	}
	return 0, fault.New(fault.Unsupported, "the repository has the object format %q; known are sha1 and sha256", name)
}

// String returns the format's name.
func (f Format) String() string {
	if f == SHA256 {
		return "sha256"
	}
	return "sha1"
}

// Size returns the length of an id in bytes.
func (f Format) Size() int {
	if f == SHA256 {
		return sha256.Size
	}
	return sha1cd.Size
}

// ID is an object's name. The zero value is none.
type ID struct {
	raw  [sha256.Size]byte
	size uint8
}

// RawID returns the id whose bytes are raw: 20 or 32.
func RawID(raw []byte) ID {
	id := ID{size: uint8(len(raw))}
	copy(id.raw[:], raw)
	return id
}

// ParseID reads an id in hexadecimal: 40 or 64 digits.
func ParseID(text string) (ID, bool) {
	if len(text) != 2*sha1cd.Size && len(text) != 2*sha256.Size {
		return ID{}, false
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return ID{}, false
	}
	return RawID(raw), true
}

// String returns the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id.raw[:id.size]) }

// Bytes returns the id's bytes, which must not be changed.
func (id *ID) Bytes() []byte { return id.raw[:id.size] }

// IsZero reports whether id is none.
func (id ID) IsZero() bool { return id == ID{} }

// Format returns the format that the id is of.
func (id ID) Format() Format {
	if id.size == sha256.Size {
		return SHA256
	}
	return SHA1
}

// Type is what an object is, by its number in a pack.
type Type uint8

// The types.
const (
	Commit Type = 1
	Tree   Type = 2
	Blob   Type = 3
	Tag    Type = 4
)

var typeNames = [...]string{Commit: "commit", Tree: "tree", Blob: "blob", Tag: "tag"}

// String returns the type's name.
func (t Type) String() string {
	if t == 0 || int(t) >= len(typeNames) {
		return "object of type " + strconv.Itoa(int(t))
	}
	return typeNames[t]
}

// ParseType returns the type of a name; 0 is none.
func ParseType(name string) Type {
	for t := Commit; t <= Tag; t++ {
		if typeNames[t] == name {
			return t
		}
	}
	return 0
}

// Hasher computes ids, one after the other. Those of SHA-1 are computed with the detection of collisions that git has
// too (https://github.com/cr-marcstevens/sha1collisiondetection): an object of the SHAttered kind is refused.
type Hasher struct {
	format Format
	hash   hash.Hash
	header []byte
	sum    []byte
}

// NewHasher returns a Hasher for ids of format f.
func NewHasher(f Format) *Hasher {
	h := &Hasher{format: f}
	if f == SHA256 {
		h.hash = sha256.New()
	} else {
		h.hash = sha1cd.New()
	}
	return h
}

// Reset begins an object of the given type and size in bytes.
func (h *Hasher) Reset(t Type, size int64) {
	h.hash.Reset()
	h.header = append(append(h.header[:0], t.String()...), ' ')
	h.header = append(strconv.AppendInt(h.header, size, 10), 0)
	h.hash.Write(h.header)
}

// Write adds a part of the object's content.
func (h *Hasher) Write(p []byte) (int, error) { return h.hash.Write(p) }

// ID returns the id of what was written since Reset.
func (h *Hasher) ID() (ID, error) {
	if h.format == SHA256 {
		h.sum = h.hash.Sum(h.sum[:0])
		return RawID(h.sum), nil
	}
	sum, collides := h.hash.(sha1cd.CollisionResistantHash).CollisionResistantSum(h.sum[:0])
	h.sum = sum
	if collides {
		return ID{}, fault.New(fault.Data, "object %x is made to collide with another one", sum)
	}
	return RawID(sum), nil
}
