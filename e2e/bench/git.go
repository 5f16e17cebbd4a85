package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// git measures git-clone beside git itself and a program that uses go-git plainly, against the same server: git daemon.
func (b *bench) git() (outcome, error) {
	var out outcome
	root := filepath.Join(b.dir, "git")
	if err := errors.Join(b.textRepository(filepath.Join(root, "text")), b.blobRepository(filepath.Join(root, "blobs"))); err != nil {
		return out, err
	}
	gogit, err := tools.Build("gogit")
	if err != nil {
		return out, err
	}
	url, stop, err := b.gitDaemon(root)
	if err != nil {
		return out, err
	}
	defer stop()
	dest := filepath.Join(b.dir, "clone")
	type sample struct {
		Repository, Name string
		Costs            []cost
		Peaks            []int64 // bytes
	}
	var samples []*sample
	runs := make(map[*sample]func() *exec.Cmd)
	for _, repository := range []string{"text", "blobs"} {
		from := url + "/" + repository
		for _, c := range []struct {
			name string
			run  func() *exec.Cmd
		}{
			{"slipway git-clone", func() *exec.Cmd { return b.run("git-clone", from, dest) }},
			{"git clone --depth 1", func() *exec.Cmd { return b.command("git", "clone", "-q", "--depth", "1", from, dest) }},
			{"go-git", func() *exec.Cmd { return b.command(gogit, from, dest) }},
		} {
			s := &sample{Repository: repository, Name: c.name}
			samples = append(samples, s)
			runs[s] = c.run
		}
	}
	for range b.rounds(9, 1) {
		for _, s := range samples {
			if err := os.RemoveAll(dest); err != nil {
				return out, err
			}
			one, err := measure(runs[s]())
			if err != nil {
				return out, err
			}
			s.Costs = append(s.Costs, one)
		}
	}
	for range b.rounds(3, 1) {
		for _, s := range samples {
			if err := os.RemoveAll(dest); err != nil {
				return out, err
			}
			one, err := b.peak(runs[s]())
			if errors.Is(err, errNoTime) {
				out.Notes = []string{"no peaks: " + err.Error()}
				continue
			}
			if err != nil {
				return out, err
			}
			s.Peaks = append(s.Peaks, one)
		}
	}

	out.Raw = samples
	out.Table = [][]string{{"median", "repository", "wall", "CPU", "peak RSS"}}
	for i := 0; i < len(samples); i += 3 {
		own, git := samples[i], samples[i+1]
		for _, s := range samples[i : i+3] {
			row := []string{s.Name, s.Repository, show(median(walls(s.Costs))), show(median(cpus(s.Costs))), "-"}
			if len(s.Peaks) > 0 {
				row[4] = megabytes(median(s.Peaks))
			}
			out.Table = append(out.Table, row)
		}
		out.Goals = append(out.Goals, atMostTimes(own.Repository+": wall", median(walls(own.Costs)), "git's", median(walls(git.Costs)), 1))
		if len(own.Peaks) > 0 {
			peak := median(own.Peaks)
			out.Goals = append(out.Goals, goal{Text: own.Repository + ": peak RSS at most 64 MiB", Got: megabytes(peak), Met: peak <= 64<<20})
		}
	}
	out.Notes = append(out.Notes,
		"text: 5,000 files, 50 MB, 50 commits; blobs: 200 MB that cannot be compressed, 2,000 commits and 100 MB of older blobs behind them",
		"the server, git daemon, runs on this machine and takes its part of the CPUs",
		"slipway writes the files alone and syncs them; the others write a .git as well and sync nothing")
	return out, nil
}

// gitDaemon starts git's own server over the repositories below root.
func (b *bench) gitDaemon(root string) (url string, stop func(), err error) {
	free, err := ports(1)
	if err != nil {
		return "", nil, err
	}
	// Git itself would start the daemon as a child, which a kill of git leaves behind.
	core, err := b.command("git", "--exec-path").Output()
	if err != nil {
		return "", nil, err
	}
	daemon := filepath.Join(strings.TrimSpace(string(core)), "git-daemon")
	server := b.command(daemon, "--reuseaddr", "--export-all", "--listen=127.0.0.1", "--port="+free[0], "--base-path="+root)
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	address := net.JoinHostPort("127.0.0.1", free[0])
	for range 500 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return "git://" + address, stop, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("git daemon does not listen: %s", bytes.TrimSpace(log.Bytes()))
}

// textRepository makes a repository of many small files of words.
func (b *bench) textRepository(dir string) error {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4000)
	for i := range words {
		word := make([]byte, 2+random.IntN(9))
		for k := range word {
			word[k] = byte('a' + random.IntN(26))
		}
		words[i] = string(word)
	}
	var in strings.Builder
	commit := func(i int) {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter b <b@example.org> %d +0000\ndata 1\nc\n", 1700000000+i)
	}
	commit(0)
	for i := range 5000 {
		var text strings.Builder
		for text.Len() < 10000 {
			for range 12 {
				text.WriteString(words[random.IntN(len(words))] + " ")
			}
			text.WriteByte('\n')
		}
		fmt.Fprintf(&in, "M 100644 inline d%02d/s%d/f%05d.txt\ndata %d\n%s\n", i%50, i/50%10, i, text.Len(), text.String())
	}
	for i := range 50 {
		commit(i + 1)
		fmt.Fprintf(&in, "M 100644 inline d00/s0/f00000.txt\ndata 3\n%03d\n", i)
	}
	return b.importRepository(dir, in.String())
}

// blobRepository makes a repository of large blobs that cannot be compressed, with a long history.
func (b *bench) blobRepository(dir string) error {
	random := rand.NewChaCha8([32]byte{1})
	blob := make([]byte, 1_000_000)
	var in bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter b <b@example.org> %d +0000\ndata 1\nc\n", 1700000000+i)
		fmt.Fprintf(&in, "M 100644 inline src/f%03d.txt\ndata 5\n%05d\n", i%300, i)
		if i%20 == 0 {
			_, _ = random.Read(blob)
			fmt.Fprintf(&in, "M 100644 inline old/blob.bin\ndata %d\n%s\n", len(blob), blob)
		}
		if i%10 == 0 {
			_, _ = random.Read(blob)
			fmt.Fprintf(&in, "M 100644 inline big/b%03d.bin\ndata %d\n%s\n", i/10, len(blob), blob)
		}
	}
	return b.importRepository(dir, in.String())
}

// importRepository makes a bare repository of what git fast-import takes.
func (b *bench) importRepository(dir, stream string) error {
	for _, step := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"init", "-q", "--bare", "-b", "main", dir}},
		{stream, []string{"-C", dir, "fast-import", "--quiet"}},
		{"", []string{"-C", dir, "repack", "-adq"}},
	} {
		cmd := b.command("git", step.args...)
		cmd.Stdin = strings.NewReader(step.stdin)
		if _, err := measure(cmd); err != nil {
			return err
		}
	}
	return nil
}
