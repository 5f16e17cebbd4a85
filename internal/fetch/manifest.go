package fetch

import (
	"io"
	"os"

	"github.com/slipway-init/slipway/internal/atomicfile"
)

// manifestName is that of the manifest in the folder.
const manifestName = "SHA256SUMS"

// manifest writes the manifest of a tree line by line. One that is there and right stays: nothing is written before the first
// line that differs.
type manifest struct {
	tree   *tree
	before *os.File         // what is there; nil if nothing is
	same   int64            // how many bytes of it are right
	next   *atomicfile.File // what takes its place; nil as long as nothing differs
}

// openManifest begins a manifest. The caller must call close.
func (t *tree) openManifest() *manifest {
	m := &manifest{tree: t}
	if info, err := t.root.Lstat(manifestName); err == nil && info.Mode().IsRegular() {
		m.before, _ = t.root.Open(manifestName) // one that cannot be read can perhaps be replaced
	}
	return m
}

// write adds a line.
func (m *manifest) write(line string) error {
	if m.next == nil && m.before != nil {
		there := make([]byte, len(line))
		if _, err := m.before.ReadAt(there, m.same); err == nil && string(there) == line {
			m.same += int64(len(line))
			return nil
		}
	}
	if err := m.differ(); err != nil {
		return err
	}
	_, err := io.WriteString(m.next, line)
	return err
}

// differ begins a new file with what is right of the one that is there, unless that is done.
func (m *manifest) differ() (err error) {
	if m.next != nil {
		return nil
	}
	if m.next, err = atomicfile.Create(m.tree.Env, manifestName, m.attributes()); err != nil || m.before == nil {
		return err
	}
	_, err = io.Copy(m.next, io.NewSectionReader(m.before, 0, m.same))
	return err
}

// commit puts the manifest into its place.
func (m *manifest) commit() error {
	if m.next == nil && m.before != nil {
		if info, err := m.before.Stat(); err == nil && info.Size() == m.same {
			_, err := atomicfile.Mend(m.tree.Env, manifestName, m.attributes())
			return err
		}
	}
	if err := m.differ(); err != nil {
		return err
	}
	return m.next.Commit()
}

// close ends the work on a manifest, and removes one that was not committed.
func (m *manifest) close() {
	if m.next != nil {
		m.next.Abort()
	}
	if m.before != nil {
		_ = m.before.Close()
	}
}

// attributes returns what the manifest is given.
func (m *manifest) attributes() atomicfile.Attributes {
	a := m.tree.attributes()
	a.Root, a.Unsynced = m.tree.root, true
	return a
}
