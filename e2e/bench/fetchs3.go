package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// fetchS3 measures s3-fetch beside s5cmd and the AWS CLI, on one Versity S3 gateway.
func (b *bench) fetchS3() (outcome, error) {
	var out outcome
	s, err := b.newStore([]lot{
		b.object("big", 2<<30, 256<<20), b.object("medium", 256<<20, 32<<20),
		{name: "1,000 x 64 KiB", path: "small", files: 1000, size: 64 << 10},
	})
	if err != nil {
		return out, err
	}
	defer s.close()
	g, err := s.startGateway()
	if err != nil {
		return out, err
	}
	contenders := []contender{
		{name: "slipway s3-fetch, verified", fetch: func(l lot, dest string) *exec.Cmd {
			if l.files > 0 {
				return g.slipway(l, dest, "--sha256-file", "s3://bench/"+l.manifest())
			}
			return g.slipway(l, dest, "--sha256", l.sum)
		}},
		{name: "slipway s3-fetch, no digest", fetch: func(l lot, dest string) *exec.Cmd { return g.slipway(l, dest) }},
		{name: "s5cmd cp", fetch: func(l lot, dest string) *exec.Cmd {
			return g.client(g.s5cmd, append([]string{"--endpoint-url", g.url}, g.cp(l, dest)...)...)
		}},
		{name: "s5cmd cp, then openssl dgst", fetch: func(l lot, dest string) *exec.Cmd {
			script := `"$@" >/dev/null && if [ -d "$0" ]; then cd "$0" && openssl dgst -sha256 *; else openssl dgst -sha256 "$0"; fi`
			return g.client("bash", append([]string{"-c", script, dest, g.s5cmd, "--endpoint-url", g.url}, g.cp(l, dest)...)...)
		}},
	}
	if aws, err := exec.LookPath("aws"); err != nil {
		out.Notes = append(out.Notes, "without aws s3 cp: no aws in PATH (apt-get install awscli)")
	} else {
		contenders = append(contenders, contender{name: "aws s3 cp", once: true, fetch: func(l lot, dest string) *exec.Cmd {
			args := []string{"--endpoint-url", g.url, "s3", "cp", "--quiet", "s3://bench/" + l.path, dest}
			if l.files > 0 {
				args = append(args, "--recursive")
			}
			cmd := g.client(aws, args...)
			cmd.Env = append(cmd.Env, "HOME="+os.Getenv("HOME"), "PATH="+os.Getenv("PATH"))
			return cmd
		}})
	}
	all, err := s.contest(contenders)
	if err != nil {
		return out, err
	}
	out.Raw = all
	out.Table, out.Goals = judge(all, contenders)
	limits, err := s.limits(g.client("curl", "-sf", "-o", "/dev/null", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", accessKey+":"+secretKey,
		"-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", g.url+"/bench/"+s.lots[0].path))
	out.Notes = append(out.Notes, limits...)
	out.Notes = append(out.Notes,
		"the server is a real one (versitygw), on the same CPUs; slipway calls fsync(2) before it renames, the others do not",
		"s5cmd and aws verify no SHA-256; aws is measured once, being slow; CPU and peak are the client's, openssl included")
	return out, err
}

// object returns the lot of one object; a quick run takes a smaller one.
func (b *bench) object(path string, full, quick int64) lot {
	size := full
	if b.quick {
		size = quick
	}
	name := fmt.Sprintf("%d MiB", size>>20)
	if size >= 1<<30 {
		name = fmt.Sprintf("%d GiB", size>>30)
	}
	return lot{name: name, path: path, size: size}
}

// gateway is an S3 server that holds the lots in its bucket "bench".
type gateway struct {
	*bench
	url   string
	s5cmd string
}

// The gateway's one user.
const (
	accessKey = "AKIABENCH00000000000"
	secretKey = "correct-horse-battery-staple-0000000000"
)

// startGateway starts the server and uploads the lots by s5cmd, as a user would have done.
func (s *store) startGateway() (*gateway, error) {
	g := &gateway{bench: s.bench}
	var err error
	if g.s5cmd, err = program("s5cmd", "S5CMD"); err != nil {
		return nil, err
	}
	server, err := tools.Build("versitygw")
	if err != nil {
		return nil, err
	}
	free, err := ports(1)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", free[0])
	g.url = "http://" + address
	objects, err := os.MkdirTemp(s.dir, "objects")
	if err != nil {
		return nil, err
	}
	cmd := s.command(server, "--port", address, "--region", "us-east-1", "--quiet", "--keep-alive", "posix", objects) // as S3 keeps connections
	cmd.Env = append(cmd.Env, "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	s.stops = append(s.stops, func() { _ = os.RemoveAll(objects) })
	if err := s.serve(cmd, address); err != nil {
		return nil, err
	}
	if _, err := measure(g.client(g.s5cmd, "--endpoint-url", g.url, "mb", "s3://bench")); err != nil {
		return nil, err
	}
	for _, l := range s.lots {
		from, to := filepath.Join(s.root, l.path), "s3://bench/"+l.path
		if l.files > 0 {
			from, to = from+"*", to[:strings.LastIndex(to, "/")+1] // the folder and its manifest
		}
		if _, err := measure(g.client(g.s5cmd, "--endpoint-url", g.url, "cp", from, to)); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// client returns a command with the user's credentials.
func (g *gateway) client(name string, args ...string) *exec.Cmd {
	cmd := g.command(name, args...)
	cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1")
	return cmd
}

func (g *gateway) slipway(l lot, dest string, more ...string) *exec.Cmd {
	source := "s3://bench/" + l.path
	if l.files > 0 {
		source += "/"
	}
	args := append([]string{"s3-fetch", source, dest, "--endpoint-url", g.url, "--path-style"}, more...)
	cmd := g.run(args...)
	cmd.Env = g.client("").Env
	return cmd
}

// cp returns the arguments by which s5cmd fetches a lot.
func (g *gateway) cp(l lot, dest string) []string {
	if l.files > 0 {
		return []string{"cp", "s3://bench/" + l.path + "/*", dest + "/"}
	}
	return []string{"cp", "s3://bench/" + l.path, dest}
}
