package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// database is the best database that this machine has: PostgreSQL with -full, Redis, or a port that opens late.
func database(ctx context.Context, s *stage) (target, about string, err error) {
	if s.full {
		if postgres, err := s.find("postgres"); err == nil {
			return postgreSQL(ctx, s, postgres)
		}
		s.say("%-14s (PostgreSQL is not installed: apt-get install postgresql)", "")
	}
	if redis, err := s.find("redis-server"); err == nil {
		return redisServer(ctx, s, redis)
	}
	return slowPort(ctx, s)
}

// logAggregator is nginx with -full, or a page that is healthy late.
func logAggregator(ctx context.Context, s *stage) (target, about string, err error) {
	if s.full {
		if nginx, err := s.find("nginx"); err == nil {
			return nginxServer(ctx, s, nginx)
		}
		s.say("%-14s (nginx is not installed: apt-get install nginx-light)", "")
	}
	return healthPage(ctx, s)
}

func redisServer(ctx context.Context, s *stage, program string) (target, about string, err error) {
	address, err := freeAddress()
	if err != nil {
		return "", "", err
	}
	_, port, _ := net.SplitHostPort(address)
	s.later(databaseDelay, func() error {
		return s.process(ctx, process{
			args: []string{program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", s.dir},
			stop: syscall.SIGTERM,
		})
	})
	return "redis://" + address, fmt.Sprintf("a real Redis, started after %s", databaseDelay), nil
}

func nginxServer(ctx context.Context, s *stage, program string) (target, about string, err error) {
	address, err := freeAddress()
	if err != nil {
		return "", "", err
	}
	config := fmt.Sprintf(`daemon off; worker_processes 1; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server { listen %s; location = /health { return 200 ok; } }
}
`, address)
	if err := os.WriteFile(s.path("nginx.conf"), []byte(config), 0o644); err != nil {
		return "", "", err
	}
	s.later(aggregatorDelay, func() error {
		return s.process(ctx, process{
			args: []string{program, "-p", s.dir, "-e", "stderr", "-c", s.path("nginx.conf")},
			stop: syscall.SIGTERM,
		})
	})
	return "http://" + address + "/health", fmt.Sprintf("a real nginx, started after %s", aggregatorDelay), nil
}

// postgreSQL makes an empty cluster and starts it late. It refuses to run as root; then it runs as Debian's postgres.
func postgreSQL(ctx context.Context, s *stage, program string) (target, about string, err error) {
	address, err := freeAddress()
	if err != nil {
		return "", "", err
	}
	_, port, _ := net.SplitHostPort(address)
	initdb, err := s.find("initdb")
	if err != nil {
		return "", "", err
	}
	home, data := s.path("postgres"), s.path("postgres/data")
	if err := os.Mkdir(home, 0o755); err != nil {
		return "", "", err
	}
	var owner *syscall.Credential
	if os.Geteuid() == 0 {
		if owner, err = credential("postgres"); err != nil {
			return "", "", err
		}
		// The server's user must get to its folder through ours.
		if err := os.Chmod(s.dir, 0o711); err != nil {
			return "", "", err
		}
		if err := os.Chown(home, int(owner.Uid), int(owner.Gid)); err != nil {
			return "", "", err
		}
	}
	initialise := exec.CommandContext(ctx, initdb, "-D", data, "--auth=trust", "--no-sync", "--no-locale")
	initialise.Dir = home
	initialise.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	if out, err := initialise.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	s.later(databaseDelay, func() error {
		return s.process(ctx, process{
			args:  []string{program, "-D", data, "-h", "127.0.0.1", "-p", port, "-k", "", "-F"},
			dir:   home,
			owner: owner,
			stop:  syscall.SIGINT, // its fast shutdown; SIGTERM would wait for clients
		})
	})
	return "postgres://" + address + "/postgres", fmt.Sprintf("a real PostgreSQL, started after %s", databaseDelay), nil
}

// credential returns a user by name.
func credential(name string) (*syscall.Credential, error) {
	account, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// process says how a server's process is started.
type process struct {
	args  []string
	dir   string              // empty is the stage
	owner *syscall.Credential // nil is whoever runs the demo
	stop  syscall.Signal      // ends it at once and cleanly
}

// process starts a process that ends with the stage. What it says goes to a file, which is shown if it ends by itself.
func (s *stage) process(ctx context.Context, p process) error {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Dir = p.dir
	if cmd.Dir == "" {
		cmd.Dir = s.dir
	}
	name := filepath.Base(p.args[0])
	log, err := os.Create(s.path(name + ".log"))
	if err != nil {
		cancel()
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner}
	cmd.Cancel = func() error { return cmd.Process.Signal(p.stop) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := cmd.Wait()
		if ctx.Err() == nil {
			said, _ := os.ReadFile(log.Name())
			s.blame(fmt.Errorf("%s ended by itself: %v\n%s", name, err, said))
		}
	}()
	s.atEnd(func() {
		cancel()
		<-ended
	})
	return nil
}
