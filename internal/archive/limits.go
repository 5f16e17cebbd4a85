package archive

import (
	"github.com/slipway-init/slipway/internal/fault"
)

// Limits bound what an archive may unpack to. A field that is 0 has its default.
type Limits struct {
	Bytes       int64 // of all files; 1 TiB
	Ratio       int   // of bytes unpacked to bytes read, once more than 64 MiB are unpacked; 100
	Entries     int   // 1,000,000, and 100,000 in a zip, whose directory has to be in memory
	Directories int   // 100,000, because their modes have to be in memory
	Depth       int   // of the deepest name, in elements; 128, because each takes an open file
	Window      int64 // of zstd, in bytes of memory; 8 MiB, as RFC 8878 (section 3.1.1.1.2) asks of every decoder
}

// free is the number of bytes that any archive may unpack to whatever its size.
const free = 64 << 20

// or returns l with its defaults.
func (l Limits) or(entries int) Limits {
	def := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	def(&l.Ratio, 100)
	def(&l.Entries, entries)
	def(&l.Directories, 100_000)
	def(&l.Depth, 128)
	if l.Bytes == 0 {
		l.Bytes = 1 << 40
	}
	if l.Window == 0 {
		l.Window = 8 << 20
	}
	return l
}

// meter counts what is unpacked against the limits.
type meter struct {
	limits      Limits
	progress    func(Totals)
	read        func() int64 // how many bytes of the archive were needed so far
	totals      Totals
	directories int
	told        int64
}

// entry counts one more entry.
func (m *meter) entry() error {
	if m.totals.Entries >= m.limits.Entries {
		return over("more than %d entries", m.limits.Entries)
	}
	m.totals.Entries++
	return nil
}

// directory counts one more directory.
func (m *meter) directory() error {
	if m.directories >= m.limits.Directories {
		return over("more than %d directories", m.limits.Directories)
	}
	m.directories++
	return nil
}

// add counts n more bytes before they are written.
func (m *meter) add(n int) error {
	m.totals.Bytes += int64(n)
	if m.totals.Bytes > m.limits.Bytes {
		return over("more than %d bytes", m.limits.Bytes)
	}
	if m.totals.Bytes > free && m.totals.Bytes/int64(m.limits.Ratio) > m.read() {
		return over("more than %d times its own size", m.limits.Ratio)
	}
	m.tell(16 << 20)
	return nil
}

// tell reports progress once step more bytes are unpacked.
func (m *meter) tell(step int64) {
	if m.progress != nil && m.totals.Bytes-m.told >= step {
		m.told = m.totals.Bytes
		m.progress(m.totals)
	}
}

func over(format string, args ...any) error {
	return fault.Hint(fault.New(fault.Data, "the archive unpacks to "+format, args...),
		"it may be a bomb; if it is not, raise the limit")
}
