package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// clone gets a repository's files and a model side by side.
var clone = scene{
	title: "A commit from a git server, and a file from a web server beside it",
	servers: []server{
		{"git-server", gitDaemon},
		{"web-server", fileServer},
	},
	args: func(s *stage) ([]string, error) {
		return []string{
			"git-clone", s.targets["git-server"], "pod/site", "--ref", "v1.0.0", "and",
			"http-fetch", s.targets["web-server"], "pod/model.bin", "--sha256", fmt.Sprintf("%x", sha256.Sum256(model())),
		}, nil
	},
	show: func(s *stage, r result) error {
		for name, want := range map[string]string{"pod/site/index.html": page, "pod/model.bin": string(model())} {
			got, err := os.ReadFile(s.path(name))
			if err != nil {
				return err
			}
			if string(got) != want {
				return fmt.Errorf("%s is not what its server has", name)
			}
		}
		if err := s.drawFiles("pod/site"); err != nil {
			return err
		}
		s.say("\n%s", s.bold("The termination message has the commit"))
		s.quote(r.report)
		if !strings.Contains(r.report, "git-clone.commit=") {
			return fmt.Errorf("the termination message does not tell the commit")
		}
		return s.drawTrace(r.spans)
	},
}

const page = "<h1>slipway</h1>\n"

// model is a file of 8 MiB.
func model() []byte { return []byte(strings.Repeat("model 3\n", 1<<20)) }

// gitDaemon is git's own server, over a repository of one commit and a tag. Git was there to get this demo.
func gitDaemon(ctx context.Context, s *stage) (target, about string, err error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return "", "", err
	}
	work := s.path("git/site")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", "", err
	}
	if err := os.WriteFile(work+"/index.html", []byte(page), 0o644); err != nil {
		return "", "", err
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "."}, {"-c", "user.name=demo", "-c", "user.email=demo@example.org", "commit", "-q", "-m", "a page"}, {"tag", "v1.0.0"},
	} {
		cmd := exec.CommandContext(ctx, git, args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	address, err := freeAddress()
	if err != nil {
		return "", "", err
	}
	host, port, _ := net.SplitHostPort(address)
	core, err := exec.CommandContext(ctx, git, "--exec-path").Output() // git would start the daemon as a child
	if err != nil {
		return "", "", err
	}
	err = s.process(ctx, process{
		args: []string{
			filepath.Join(strings.TrimSpace(string(core)), "git-daemon"), "--reuseaddr", "--export-all", "--listen=" + host, "--port=" + port,
			"--base-path=" + s.path("git"),
		},
		stop: syscall.SIGTERM,
	})
	return "git://" + address + "/site", "git daemon", err
}

// fileServer is a web server with one file.
func fileServer(_ context.Context, s *stage) (target, about string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	if err := os.WriteFile(s.path("model.bin"), model(), 0o644); err != nil {
		return "", "", err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(s.dir))}
	go func() { _ = server.Serve(listener) }()
	s.atEnd(func() { server.Close() })
	return "http://" + listener.Addr().String() + "/model.bin", "a web server", nil
}
