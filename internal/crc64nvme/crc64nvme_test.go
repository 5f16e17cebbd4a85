package crc64nvme

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"
)

// The catalogue of parametrised CRC algorithms has this check value:
// https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-64-nvme.
func TestTheCatalogueAgrees(t *testing.T) {
	d := New()
	d.Write([]byte("123456789"))
	if got, want := d.Sum64(), uint64(0xae8b14860a799888); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestFoldingIsTheTable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	bytes := make([]byte, 3000)
	for i := range bytes {
		bytes[i] = byte(random.Uint32())
	}
	for range 5000 {
		from := random.IntN(len(bytes))
		to := from + random.IntN(len(bytes)-from+1)
		before := random.Uint64()
		got, want := update(before, bytes[from:to]), crc64.Update(before, table(), bytes[from:to])
		if got != want {
			t.Fatalf("bytes %d to %d: got %x, want %x", from, to, got, want)
		}
	}
}

func TestPiecesAreTheWhole(t *testing.T) {
	bytes := make([]byte, 100_000)
	for i := range bytes {
		bytes[i] = byte(i * i >> 3)
	}
	whole, pieces := New(), New()
	whole.Write(bytes)
	for at, n := 0, 1; at < len(bytes); at, n = at+n, n*2+1 {
		pieces.Write(bytes[at:min(at+n, len(bytes))])
	}
	if got, want := pieces.Sum64(), whole.Sum64(); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	whole.Reset()
	if whole.Sum64() != 0 || whole.Size() != 8 {
		t.Error("a reset one is not as new")
	}
}

func BenchmarkUpdate(b *testing.B) {
	bytes := make([]byte, 1<<20)
	b.SetBytes(int64(len(bytes)))
	for b.Loop() {
		update(0, bytes)
	}
}
