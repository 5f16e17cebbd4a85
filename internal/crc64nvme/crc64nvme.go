// Package crc64nvme computes the CRC-64 of NVM Express, which S3 gives to objects whose uploader chose no other checksum.
//
// The instructions that make it eight times as fast as hash/crc64 are github.com/minio/crc64nvme's. That module is not
// imported, because it asks the processor for its features before main, by a package that asks for all of them: 0.45 ms of
// every start in a virtual machine, which traps each question. Here it is asked when the first checksum is computed.
package crc64nvme

import (
	"hash"
	"hash/crc64"
	"sync"
)

// polynomial is that of the NVM Express NVM Command Set specification, reversed as hash/crc64 wants it.
const polynomial = 0x9a6c9329ac4bc9b5

var (
	table = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(polynomial) })
	fast  = sync.OnceValue(canFold)
)

// digest is the checksum of what was written.
type digest struct{ crc uint64 }

// New returns a hash of 8 bytes, the highest first, which is how S3 has them.
func New() hash.Hash64 { return new(digest) }

func (d *digest) Size() int      { return crc64.Size }
func (d *digest) BlockSize() int { return 1 }
func (d *digest) Reset()         { d.crc = 0 }
func (d *digest) Sum64() uint64  { return d.crc }

func (d *digest) Sum(in []byte) []byte {
	s := d.crc
	return append(in, byte(s>>56), byte(s>>48), byte(s>>40), byte(s>>32), byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
}

func (d *digest) Write(p []byte) (int, error) {
	d.crc = update(d.crc, p)
	return len(p), nil
}

// block is how much fold takes at a time, and alignment where it wants that to begin.
const (
	block     = 128
	alignment = 16
)

// update returns the checksum of what has the checksum crc, followed by p.
func update(crc uint64, p []byte) uint64 {
	if len(p) < block+alignment || !fast() {
		return crc64.Update(crc, table(), p)
	}
	if ahead := unaligned(p); ahead > 0 {
		crc = crc64.Update(crc, table(), p[:ahead])
		p = p[ahead:]
	}
	whole := len(p) - len(p)%block
	crc = fold(crc, p[:whole])
	return crc64.Update(crc, table(), p[whole:])
}
