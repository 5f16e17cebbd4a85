// Package archive unpacks archives that strangers made.
//
// Everything is written through an os.Root, so that nothing outside of it can be made or changed whatever an archive says;
// what is refused besides, which limits hold and why is told in docs/archives.md. The directory is left half full by an error:
// it is one that nobody sees yet (see package atomicdir).
package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/slipway-init/slipway/internal/glob"
)

// Format is a form of archive. It is an option's value, too: "--extract tar.gz".
type Format string

// The formats.
const (
	None     Format = ""        // of Detect: none that is known; of Options: as Auto
	Auto     Format = "auto"    // what the first bytes say
	TarPlain Format = "tar"     // POSIX, GNU and V7
	TarGzip  Format = "tar.gz"  // RFC 1952
	TarZstd  Format = "tar.zst" // RFC 8878
	TarBzip2 Format = "tar.bz2" // slow to read: 20 MB/s or so
	ZipFile  Format = "zip"     // read from a file, not from a stream
)

// Formats are those that an option may name.
var formats = []Format{Auto, TarPlain, TarGzip, TarZstd, TarBzip2, ZipFile}

// String returns the format's name.
func (f *Format) String() string { return string(*f) }

// Set takes the name of a format.
func (f *Format) Set(text string) error {
	for _, known := range formats {
		if text == string(known) {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("%q is not a format: %s", text, names())
}

// Type returns "format".
func (*Format) Type() string { return "format" }

// JSONSchema tells the JSON Schema of the values.
func (*Format) JSONSchema() map[string]any { return map[string]any{"enum": formats} }

func names() string {
	all := make([]string, len(formats))
	for i, f := range formats {
		all[i] = string(f)
	}
	return strings.Join(all, ", ")
}

// HeadSize is the number of bytes from which Detect tells every format.
const HeadSize = 512

// Detect returns the format of an archive that begins with head, by its magic bytes and not by any name. It tells what a
// tar is packed in, and not whether a tar is in it.
func Detect(head []byte) Format {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return TarGzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), skippable(head):
		return TarZstd
	case bytes.HasPrefix(head, []byte("BZh")):
		return TarBzip2
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return ZipFile
	case isTar(head):
		return TarPlain
	}
	return None
}

// skippable reports whether head begins a frame of zstd that holds no data, as some writers put first.
func skippable(head []byte) bool {
	return len(head) >= 4 && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50
}

// isTar reports whether head is a tar's first block: a header whose checksum is right, or the zeros that end an empty one.
// The checksum is older than the word "ustar", and every tar has it.
func isTar(head []byte) bool {
	const block, from, to = 512, 148, 156
	if len(head) < block {
		return false
	}
	head = head[:block]
	if bytes.Equal(head, make([]byte, block)) {
		return true
	}
	var unsigned, signed, told int64
	for i, b := range head {
		if i >= from && i < to {
			b = ' '
		}
		unsigned, signed = unsigned+int64(b), signed+int64(int8(b))
	}
	text := strings.Trim(string(head[from:to]), " \x00")
	if _, err := fmt.Sscanf(text, "%o", &told); err != nil {
		return false
	}
	return told == unsigned || told == signed
}

// Options choose what is unpacked.
type Options struct {
	Format Format      // the zero value is Auto
	Strip  int         // the number of leading elements that each name loses; entries without more are left out
	Filter glob.Filter // of the names, as stripped
	Limits Limits      // where one is 0 the default holds
	// Progress, if it is not nil, is told of what has been unpacked so far, now and then.
	Progress func(Totals)
}

// Totals say what was unpacked.
type Totals struct {
	Entries int   // files, directories that the archive names, and links
	Bytes   int64 // of the files
}
