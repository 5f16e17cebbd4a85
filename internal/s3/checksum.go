package s3

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/crc64nvme"
	"github.com/slipway-init/slipway/internal/fault"
)

// Algorithm is one that S3 computes checksums by, in S3's own words.
type Algorithm string

// The algorithms, the cheapest first:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html.
const (
	CRC64NVME Algorithm = "CRC64NVME"
	CRC32C    Algorithm = "CRC32C"
	CRC32     Algorithm = "CRC32"
	SHA256    Algorithm = "SHA256"
	SHA1      Algorithm = "SHA1"
)

var algorithms = []Algorithm{CRC64NVME, CRC32C, CRC32, SHA256, SHA1}

// New returns a hash by that algorithm.
func (a Algorithm) New() hash.Hash {
	switch a {
	case CRC64NVME:
		return crc64nvme.New()
	case CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case CRC32:
		return crc32.NewIEEE()
	case SHA256:
		return sha256.New()
	case SHA1:
		return sha1.New()
	}
	panic("s3: no algorithm " + string(a))
}

// Checksum is that of an object, as S3 keeps it beside it.
type Checksum struct {
	Algorithm Algorithm
	Value     []byte
	// Parts is how many parts' checksums it is the checksum of (composite); 0 where it is that of all bytes.
	Parts int
}

// String returns the checksum as S3 has it: "CRC32 Nks/tw==-3".
func (c Checksum) String() string {
	text := string(c.Algorithm) + " " + base64.StdEncoding.EncodeToString(c.Value)
	if c.Parts > 0 {
		text += "-" + strconv.Itoa(c.Parts)
	}
	return text
}

// checksumsOf returns the checksums in the header of an answer, those of all bytes before composite ones. One that makes no
// sense is left out: it says nothing of the object.
func checksumsOf(header http.Header) []Checksum {
	var whole, composite []Checksum
	for _, algorithm := range algorithms {
		text := header.Get("X-Amz-Checksum-" + string(algorithm))
		if text == "" {
			continue
		}
		encoded, count, isComposite := strings.Cut(text, "-")
		value, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(value) != algorithm.New().Size() {
			continue
		}
		c := Checksum{Algorithm: algorithm, Value: value}
		if isComposite {
			if c.Parts, err = strconv.Atoi(count); err != nil || c.Parts < 1 || c.Parts > maxParts {
				continue
			}
			composite = append(composite, c)
			continue
		}
		if !strings.EqualFold(header.Get("X-Amz-Checksum-Type"), "COMPOSITE") { // else the number of parts is not known
			whole = append(whole, c)
		}
	}
	return append(whole, composite...)
}

// Verifier computes a checksum of bytes that are written to it in their order, and compares it.
type Verifier struct {
	want  Checksum
	bytes hash.Hash // of the object, or of the part that is being written
	parts hash.Hash // of the parts' checksums; nil unless want is composite
	sizes []int64   // of the parts that are left, with the one that is being written
	left  int64     // of it, in bytes
	over  bool      // more was written than the parts have
}

// Verifier returns one for c. Sizes are those of the parts of a composite checksum, see Client.PartSizes, and nil for others.
func (c Checksum) Verifier(sizes []int64) *Verifier {
	v := &Verifier{want: c, bytes: c.Algorithm.New()}
	if c.Parts > 0 {
		v.parts, v.sizes = c.Algorithm.New(), sizes
		if len(sizes) > 0 {
			v.left = sizes[0]
		}
	}
	return v
}

// Write takes the next bytes. It never fails.
func (v *Verifier) Write(p []byte) (int, error) {
	written := len(p)
	if v.parts == nil {
		v.bytes.Write(p)
		return written, nil
	}
	for len(p) > 0 {
		if len(v.sizes) == 0 {
			v.over = true
			return written, nil
		}
		n := min(int64(len(p)), v.left)
		v.bytes.Write(p[:n])
		p, v.left = p[n:], v.left-n
		v.endPart()
	}
	return written, nil
}

// endPart adds the checksum of the part that is written, if it is whole, and begins the next.
func (v *Verifier) endPart() {
	for v.left == 0 && len(v.sizes) > 0 {
		v.parts.Write(v.bytes.Sum(nil))
		v.bytes.Reset()
		if v.sizes = v.sizes[1:]; len(v.sizes) > 0 {
			v.left = v.sizes[0]
		}
	}
}

// Check returns nil if all that was written has the checksum, else an error that is Data.
func (v *Verifier) Check() error {
	got := Checksum{Algorithm: v.want.Algorithm, Parts: v.want.Parts}
	if v.parts == nil {
		got.Value = v.bytes.Sum(nil)
	} else {
		v.endPart() // an object without bytes has one part without bytes
		if v.over || len(v.sizes) > 0 {
			return fault.New(fault.Data, "the object has another size than the %d parts of its checksum %s", v.want.Parts, v.want)
		}
		got.Value = v.parts.Sum(nil)
	}
	if !bytes.Equal(got.Value, v.want.Value) {
		return fault.New(fault.Data, "the checksum is %s, and S3 has %s", got, v.want)
	}
	return nil
}
