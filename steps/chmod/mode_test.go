package chmod

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestModeIsThatOfChmod compares with what chmod(1) did; testdata/chmod.sh wrote the table.
func TestModeIsThatOfChmod(t *testing.T) {
	table, err := os.Open("testdata/chmod.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	rows := 0
	for lines := bufio.NewScanner(table); lines.Scan(); rows++ {
		fields := strings.Fields(lines.Text())
		text, dir := fields[0], fields[1] == "d"
		before, want := bits(t, fields[2]), bits(t, fields[3])
		changes, ok := parse(text)
		if !ok {
			t.Fatalf("%s: not parsed", text)
		}
		m := mode{changes: changes}
		if got := m.apply(before, dir); got != want {
			t.Errorf("%s: got %04o, want %04o", lines.Text(), got, want)
		}
	}
	if rows < 1000 {
		t.Errorf("got %d rows, want the whole table", rows)
	}
}

func bits(t *testing.T, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestModeRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "rwx", "u", "8", "0888", "77777", "000755", "-1x", "u+q", "u+ug", "x+u", "u=755", "+9", "u+x,", ",u+x",
		"u+x,,g+x", "u+x g+x", "0755,u+x", "u+x\n", "u=rwé", "0x1ff", "1_0", "0o", "a=uw",
	} {
		var m mode
		if err := m.Set(text); err == nil {
			t.Errorf("%q: want a fault, got none", text)
		}
		if m.text != "" {
			t.Errorf("%q: got %q kept, want nothing", text, m.text)
		}
	}
}

func TestModeThatChangesItsOwnResultIsRefused(t *testing.T) {
	for text, want := range map[string]bool{
		"g=u,u+x": false, "u=g,g-w,g=o": false,
		"u=rwX,go=": true, "a-x,u+X": true, "g=u": true, "g=u,u=rw": false, "o=g,g=rx,o=g": true, "00755": true,
	} {
		var m mode
		if err := m.Set(text); (err == nil) != want {
			t.Errorf("%q: got %v, want it taken: %v", text, err, want)
		}
	}
}

// FuzzMode checks that a mode that is taken prints what is taken again, stays within the bits of a mode, and gives the
// same when it is applied again.
func FuzzMode(f *testing.F) {
	for _, text := range []string{"0644", "u=rwX,go-w,+t", "a-x,u+X", "g=u", "=755", "0o1777", "+", "u+s-t=r", "00755"} {
		f.Add(text, uint32(0o644), false)
		f.Add(text, uint32(0o7777), true)
	}
	f.Fuzz(func(t *testing.T, text string, bits uint32, dir bool) {
		var m mode
		if m.Set(text) != nil {
			return
		}
		bits &= all
		once := m.apply(bits, dir)
		if once&^all != 0 {
			t.Errorf("%q of %04o: got %o, want no more than twelve bits", text, bits, once)
		}
		if twice := m.apply(once, dir); twice != once {
			t.Errorf("%q of %04o: got %04o and then %04o", text, bits, once, twice)
		}
		var again mode
		if err := again.Set(m.String()); err != nil {
			t.Fatalf("%q: its text %q is not taken: %v", text, m.String(), err)
		}
		if got := again.apply(bits, dir); got != once {
			t.Errorf("%q: its text gives %04o, want %04o", text, got, once)
		}
	})
}
