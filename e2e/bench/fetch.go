package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// lot is what is fetched: one object, or a folder of them.
type lot struct {
	name  string // "2 GiB"
	path  string // below the served folder
	files int    // in the folder; 0 for one object
	size  int64  // of each
	sum   string // SHA-256 of the one object
}

// manifest is the path of the SHA256SUMS of a folder's files.
func (l lot) manifest() string { return l.path + ".SHA256SUMS" }

// contender is a way to fetch.
type contender struct {
	name  string
	fetch func(l lot, dest string) *exec.Cmd
	once  bool // it is so slow that it is measured once
}

// store is a folder of incompressible files with real servers in front of it.
type store struct {
	*bench
	root  string // the folder
	lots  []lot
	stops []func()
}

// fetched is what one contender's runs of one lot took.
type fetched struct {
	Lot   string  `json:"lot"`
	Dest  string  `json:"dest"`
	Name  string  `json:"name"`
	Costs []cost  `json:"costs"`
	Peaks []int64 `json:"peaks"` // bytes
}

// newStore makes the files that are served.
func (b *bench) newStore(lots []lot) (*store, error) {
	s := &store{bench: b, root: filepath.Join(b.dir, "served"), lots: slices.Clone(lots)}
	if err := os.MkdirAll(s.root, 0o755); err != nil {
		return nil, err
	}
	noise := rand.NewChaCha8([32]byte{})
	for i := range s.lots {
		l := &s.lots[i]
		path := filepath.Join(s.root, l.path)
		var err error
		if l.files == 0 {
			l.sum, err = fill(path, noise, l.size)
		} else {
			err = fillFolder(path, filepath.Join(s.root, l.manifest()), noise, l.files, l.size)
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// fill writes a file of noise and returns its SHA-256.
func fill(path string, noise io.Reader, size int64) (sum string, err error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), noise, size)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// fillFolder writes files of noise, and their manifest in the form of sha256sum.
func fillFolder(path, manifest string, noise io.Reader, files int, size int64) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for i := range files {
		name := fmt.Sprintf("%04d", i)
		sum, err := fill(filepath.Join(path, name), noise, size)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	return os.WriteFile(manifest, []byte(sums.String()), 0o644)
}

// close ends the servers and removes the files, which are large.
func (s *store) close() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
	_ = os.RemoveAll(s.root)
}

// serve starts a server, which stays until the store is closed, and waits for its port.
func (s *store) serve(cmd *exec.Cmd, address string) error {
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.stops = append(s.stops, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-exited
	})
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-exited:
			return fmt.Errorf("%s ended:\n%s", cmd.Path, log.String())
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// contest fetches every lot by every contender into every destination, in rounds.
func (s *store) contest(contenders []contender) ([]*fetched, error) {
	dests, err := s.dests()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, dest := range dests {
			_ = os.RemoveAll(dest)
		}
	}()
	var all []*fetched
	for _, l := range s.lots {
		for _, dest := range dests {
			samples := make([]*fetched, len(contenders))
			for i, c := range contenders {
				samples[i] = &fetched{Lot: l.name, Dest: kindOf(dest), Name: c.name}
			}
			all = append(all, samples...)
			for _, c := range contenders { // unmeasured, to see that all fetch the same, and to warm the server
				err := inside(dest, l, func(target string) error {
					if _, err := measure(c.fetch(l, target)); err != nil {
						return err
					}
					_, err := measure(s.command("diff", "-rq", filepath.Join(s.root, l.path), target))
					return err
				})
				if err != nil {
					return nil, fmt.Errorf("%s of %s: %w", c.name, l.name, err)
				}
			}
			rounds := 5
			if l.size >= 1<<30 {
				rounds = 3
			}
			for round := range s.rounds(rounds, 1) {
				for i, c := range contenders {
					if c.once && round > 0 {
						continue
					}
					err := inside(dest, l, func(target string) error {
						one, err := measure(c.fetch(l, target))
						samples[i].Costs = append(samples[i].Costs, one)
						return err
					})
					if err != nil {
						return nil, err
					}
				}
			}
			for i, c := range contenders {
				err := inside(dest, l, func(target string) error {
					peak, err := s.peak(c.fetch(l, target))
					if err == nil {
						samples[i].Peaks = append(samples[i].Peaks, peak)
					}
					return err
				})
				if err != nil && !errors.Is(err, errNoTime) {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

// inside calls f with a target that is not there, in a fresh folder below dest, which is removed afterwards with all that was
// left beside the target. The target of many files is an empty folder.
func inside(dest string, l lot, f func(target string) error) error {
	dir, err := os.MkdirTemp(dest, "")
	if err != nil {
		return err
	}
	target := filepath.Join(dir, l.path)
	if l.files > 0 {
		err = os.Mkdir(target, 0o755)
	}
	if err == nil {
		err = f(target)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// dests returns fresh folders to fetch to: one where the command line says, or one on the disk and one in memory, as a volume
// of a pod is either.
func (s *store) dests() ([]string, error) {
	parents := []string{s.dest}
	if s.dest == "" {
		parents = []string{s.dir}
		var room syscall.Statfs_t
		if err := syscall.Statfs("/dev/shm", &room); err == nil && int64(room.Bavail)*room.Bsize > 2*s.largest() {
			parents = append(parents, "/dev/shm")
		}
	}
	var dests []string
	for _, parent := range parents {
		dest, err := os.MkdirTemp(parent, "fetched")
		if err != nil {
			return nil, err
		}
		dests = append(dests, dest)
	}
	return dests, nil
}

// largest returns the size of the largest lot.
func (s *store) largest() int64 {
	var size int64
	for _, l := range s.lots {
		size = max(size, l.size*int64(max(1, l.files)))
	}
	return size
}

// kindOf says whether a folder is in memory.
func kindOf(dir string) string {
	const tmpfs = 0x01021994
	var kind syscall.Statfs_t
	if err := syscall.Statfs(dir, &kind); err == nil && int64(kind.Type) == tmpfs {
		return "memory"
	}
	return "disk"
}

// judge makes the table and the goals of a contest. Of the contenders the first is slipway with a digest, the others are
// slipway without, a rival without, and that rival with openssl(1) behind it; more may follow.
func judge(all []*fetched, contenders []contender) (table [][]string, goals []goal) {
	table = [][]string{{"median", "of", "to", "wall", "", "CPU", "", "peak RSS"}}
	for group := range slices.Chunk(all, len(contenders)) {
		own, bare, checked := group[0], group[2], group[3]
		for _, f := range group {
			wall, cpu := median(walls(f.Costs)), median(cpus(f.Costs))
			row := []string{
				f.Name, f.Lot, f.Dest, show(wall), times(wall, median(walls(own.Costs))), show(cpu), times(cpu, median(cpus(own.Costs))), "-",
			}
			if len(f.Peaks) > 0 {
				row[7] = megabytes(slices.Max(f.Peaks))
			}
			table = append(table, row)
		}
		what := fmt.Sprintf("%s to %s, verified: ", own.Lot, own.Dest)
		wall, cpu := median(walls(own.Costs)), median(cpus(own.Costs))
		goals = append(goals,
			atMostTimes(what+"wall", wall, bare.Name, median(walls(bare.Costs)), 1),
			atMostTimes(what+"wall", wall, checked.Name, median(walls(checked.Costs)), 0.8),
			atMostTimes(what+"CPU", cpu, bare.Name, median(cpus(bare.Costs)), 1),
			atMostTimes(what+"CPU", cpu, checked.Name, median(cpus(checked.Costs)), 1),
		)
		if len(own.Peaks) > 0 {
			peak := slices.Max(own.Peaks)
			goals = append(goals, goal{what + "peak RSS: under 64 MiB", megabytes(peak), peak < 64<<20})
		}
	}
	return table, goals
}

// limits returns what no way to fetch so many bytes can beat on this machine, each measured alone: to hash them, to write
// them, and to read them from the server by a command.
func (s *store) limits(reader *exec.Cmd) ([]string, error) {
	size := s.largest()
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(block)

	began := time.Now()
	h := sha256.New()
	for range size / int64(len(block)) {
		h.Write(block)
	}
	notes := []string{fmt.Sprintf("limits for %s bytes: Go's SHA-256 alone %s", count(size), show(time.Since(began)))}

	dests, err := s.dests()
	if err != nil {
		return nil, err
	}
	for _, dest := range dests {
		began := time.Now()
		f, err := os.Create(filepath.Join(dest, "written"))
		if err != nil {
			return nil, err
		}
		for range size / int64(len(block)) {
			if _, err := f.Write(block); err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
		written := time.Since(began)
		err = errors.Join(f.Sync(), f.Close(), os.RemoveAll(dest))
		if err != nil {
			return nil, err
		}
		notes = append(notes, fmt.Sprintf("limits: write alone to %s %s, with fsync(2) %s", kindOf(filepath.Dir(dest)), show(written), show(time.Since(began))))
	}

	read, err := measure(reader)
	if err != nil {
		return nil, err
	}
	return append(notes, fmt.Sprintf("limits: one connection that is read and thrown away, by curl: %s", show(read.Wall))), nil
}
