package transfer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"strings"

	"github.com/slipway-init/slipway/internal/atomicfile"
)

// journal notes in a file what of it is written. It stands behind the object's bytes, so that it lives and dies with
// them:
//
//	object | JSON of identity | a byte for each chunk, 1 when it is written | length of the JSON | size | magic
//
// It is written after the chunk by the same process, and so holds after a SIGKILL, but not after a crash of the machine,
// which may bring the journal to the disk and the chunk not: its boot is part of the identity.
type journal struct {
	file *atomicfile.File
	size int64
	base int64 // of the bytes of the chunks
}

// identity is what must be the same for a journal to be of use.
type identity struct {
	Source  string `json:"source"`
	Version string `json:"version"`
	Size    int64  `json:"size"`
	Boot    string `json:"boot"`
}

const (
	magic  = "slipway1"
	footer = 8 + 8 + len(magic)
	// maxIdentity bounds the JSON that is read back, in bytes.
	maxIdentity = 16 << 10
)

// bootID returns what tells this boot of the machine from others, "" where the kernel does not tell:
// https://docs.kernel.org/admin-guide/sysctl/kernel.html#random.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// newJournal begins a journal in file, which gets room for the object and for it.
func newJournal(file *atomicfile.File, id identity) (*journal, error) {
	text, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, size: id.Size, base: id.Size + int64(len(text))}
	end := j.base + j.chunks()
	// Nothing of an earlier journal may be taken for this one's.
	if err := file.Truncate(0); err != nil {
		return nil, err
	}
	if err := file.Allocate(end + int64(footer)); err != nil {
		return nil, err
	}
	if _, err := file.WriteAt(text, id.Size); err != nil {
		return nil, err
	}
	tail := binary.BigEndian.AppendUint64(nil, uint64(len(text)))
	tail = binary.BigEndian.AppendUint64(tail, uint64(id.Size))
	_, err = file.WriteAt(append(tail, magic...), end)
	return j, err
}

// openJournal returns the journal that stands in file and what it is of, or false if there is none that can be read.
func openJournal(file *atomicfile.File) (*journal, identity, bool) {
	var id identity
	end, err := file.Size()
	if err != nil || end < int64(footer) {
		return nil, id, false
	}
	tail := make([]byte, footer)
	if _, err := file.ReadAt(tail, end-int64(footer)); err != nil || !bytes.HasSuffix(tail, []byte(magic)) {
		return nil, id, false
	}
	length, size := int64(binary.BigEndian.Uint64(tail)), int64(binary.BigEndian.Uint64(tail[8:]))
	if length <= 0 || length > maxIdentity || size < 0 || size > end {
		return nil, id, false
	}
	j := &journal{file: file, size: size, base: size + length}
	text := make([]byte, length)
	if _, err := file.ReadAt(text, size); err != nil || json.Unmarshal(text, &id) != nil || id.Size != size || j.base+j.chunks()+int64(footer) != end {
		return nil, id, false
	}
	return j, id, true
}

func (j *journal) chunks() int64 { return (j.size + chunk - 1) / chunk }

// note notes that the chunk that ends at to is written.
func (j *journal) note(to int64) error {
	_, err := j.file.WriteAt([]byte{1}, j.base+(to-1)/chunk)
	return err
}

// missing returns what is not written yet, in order.
func (j *journal) missing() ([]span, error) {
	var (
		spans []span
		page  [4096]byte
	)
	for first := int64(0); first < j.chunks(); first += int64(len(page)) {
		notes := page[:min(int64(len(page)), j.chunks()-first)]
		if _, err := j.file.ReadAt(notes, j.base+first); err != nil {
			return nil, err
		}
		for i, done := range notes {
			if done != 0 {
				continue
			}
			from := (first + int64(i)) * chunk
			to := min(from+chunk, j.size)
			if last := len(spans) - 1; last >= 0 && spans[last].to == from {
				spans[last].to = to
			} else {
				spans = append(spans, span{from, to})
			}
		}
	}
	return spans, nil
}
