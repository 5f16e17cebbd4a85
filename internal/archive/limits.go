package archive

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// Limits bound what an archive may unpack to. A field that is 0 has its default. As an option's value they are written
// "ratio=1000,entries=2000000": see Set.
type Limits struct {
	Bytes       int64 // of all files; 1 TiB
	Ratio       int64 // of bytes unpacked to bytes read, once more than 64 MiB are unpacked; 100
	Entries     int64 // those that are left out, too; 1,000,000, and 50,000 in a zip, whose directory has to be in memory
	Directories int64 // 100,000, because their modes have to be in memory
	Depth       int64 // of the deepest name, in elements; 128, because each takes an open file
	Window      int64 // of zstd, in bytes of memory; 8 MiB, as RFC 8878 (section 3.1.1.1.2) asks of every decoder
}

// LimitsOption is the name of the option that a step gives to Limits: hints say it.
const LimitsOption = "extract-limits"

// The defaults.
var (
	tarLimits = Limits{Bytes: 1 << 40, Ratio: 100, Entries: 1_000_000, Directories: 100_000, Depth: 128, Window: 8 << 20}
	zipLimits = Limits{Bytes: 1 << 40, Ratio: 100, Entries: 50_000, Directories: 100_000, Depth: 128, Window: 8 << 20}
)

// fields returns the limits by their names, in order.
func (l *Limits) fields() []struct {
	name  string
	value *int64
} {
	return []struct {
		name  string
		value *int64
	}{
		{"bytes", &l.Bytes}, {"ratio", &l.Ratio}, {"entries", &l.Entries}, {"directories", &l.Directories}, {"depth", &l.Depth}, {"window", &l.Window},
	}
}

// String returns the limits that are not the default ones, as Set takes them.
func (l *Limits) String() string {
	var parts []string
	for _, f := range l.fields() {
		if *f.value != 0 {
			parts = append(parts, f.name+"="+strconv.FormatInt(*f.value, 10))
		}
	}
	return strings.Join(parts, ",")
}

// Set takes limits such as "bytes=20Gi,ratio=1000". A number may have the suffix Ki, Mi, Gi or Ti.
func (l *Limits) Set(text string) error {
	next := *l
	for part := range strings.SplitSeq(text, ",") {
		name, number, _ := strings.Cut(part, "=")
		value, err := parseNumber(number)
		if err != nil {
			return fmt.Errorf("%q is not a limit such as ratio=1000 or bytes=20Gi", part)
		}
		known := false
		for _, f := range next.fields() {
			if f.name == name {
				*f.value, known = value, true
			}
		}
		if !known {
			return fmt.Errorf("%q is not a limit: bytes, ratio, entries, directories, depth, window", name)
		}
	}
	*l = next
	return nil
}

// parseNumber parses a number over 0 with its suffix.
func parseNumber(text string) (int64, error) {
	var shift uint
	for i, suffix := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if digits, ok := strings.CutSuffix(text, suffix); ok {
			text, shift = digits, 10*uint(i+1)
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 || n > math.MaxInt64>>shift {
		return 0, strconv.ErrRange
	}
	return int64(n) << shift, nil
}

// Type returns "limits".
func (*Limits) Type() string { return "limits" }

// JSONSchema tells the JSON Schema of the values.
func (*Limits) JSONSchema() map[string]any {
	const one = `(bytes|ratio|entries|directories|depth|window)=[0-9]+([KMGT]i)?`
	return map[string]any{"type": "string", "pattern": "^" + one + "(," + one + ")*$"}
}

// or returns l with those of def where it has none.
func (l Limits) or(def Limits) Limits {
	defaults := def.fields()
	for i, f := range l.fields() {
		if *f.value == 0 {
			*f.value = *defaults[i].value
		}
	}
	return l
}

// free is the number of bytes that any archive may unpack to whatever its size.
const free = 64 << 20

// tellEvery is the number of bytes between two reports of progress.
const tellEvery = 8 << 20

// meter counts what is unpacked against the limits.
type meter struct {
	limits      Limits
	progress    func(Totals)
	read        func() int64 // how many bytes of the archive were needed so far
	totals      Totals
	seen        int64 // entries, those that are left out too
	directories int64
	told        int64
}

// entry counts one more entry that is seen.
func (m *meter) entry() error {
	if m.seen++; m.seen > m.limits.Entries {
		return over("entries", "more than %d entries", m.limits.Entries)
	}
	return nil
}

// directory counts one more directory.
func (m *meter) directory() error {
	if m.directories++; m.directories > m.limits.Directories {
		return over("directories", "more than %d directories", m.limits.Directories)
	}
	return nil
}

// add counts n more bytes before they are written.
func (m *meter) add(n int) error {
	m.totals.Bytes += int64(n)
	if m.totals.Bytes > m.limits.Bytes {
		return over("bytes", "more than %d bytes", m.limits.Bytes)
	}
	m.tell(tellEvery)
	return m.expanded(m.totals.Bytes)
}

// expanded checks that n bytes are not too many for what was read.
func (m *meter) expanded(n int64) error {
	if n > free && n/m.limits.Ratio > m.read() {
		return over("ratio", "more than %d times its own size", m.limits.Ratio)
	}
	return nil
}

// tell reports progress once that many more bytes are unpacked.
func (m *meter) tell(step int64) {
	if m.progress != nil && m.totals.Bytes-m.told >= step {
		m.told = m.totals.Bytes
		m.progress(m.totals)
	}
}

// over is the fault of an archive that passes a limit.
func over(limit, format string, args ...any) error {
	return fault.Hint(fault.New(fault.Data, "the archive unpacks to "+format, args...),
		"it may be a bomb; if it is not, raise the limit: --%s %s=…", LimitsOption, limit)
}

// metered is what was decompressed: all of it counts, headers and what is left out, too. It remembers the zeros at its
// end.
type metered struct {
	io.ReadCloser
	meter *meter
	n     int64
	zeros int // at the end of what has been read; blockSize at most
}

// blockSize is that of a tar, in bytes.
const blockSize = 512

// Read implements io.Reader.
func (r *metered) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += int64(n)
	zeros := 0
	for zeros < min(n, blockSize) && p[n-1-zeros] == 0 {
		zeros++
	}
	if zeros == n {
		zeros += r.zeros
	}
	r.zeros = min(zeros, blockSize)
	if over := r.meter.expanded(r.n); over != nil {
		return n, over
	}
	return n, err
}
