package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// fetchHTTP measures http-fetch beside curl, on one nginx, which costs the machine least.
func (b *bench) fetchHTTP() (outcome, error) {
	var out outcome
	s, err := b.newStore([]lot{b.object("big", 2<<30, 256<<20), b.object("medium", 256<<20, 32<<20)})
	if err != nil {
		return out, err
	}
	defer s.close()
	url, err := s.startWeb()
	if err != nil {
		return out, err
	}
	contenders := []contender{
		{name: "slipway http-fetch, verified", fetch: func(l lot, dest string) *exec.Cmd {
			return b.run("http-fetch", url+l.path, dest, "--sha256", l.sum)
		}},
		{name: "slipway http-fetch, no digest", fetch: func(l lot, dest string) *exec.Cmd { return b.run("http-fetch", url+l.path, dest) }},
		{name: "curl -o", fetch: func(l lot, dest string) *exec.Cmd { return b.command("curl", "-sf", "-o", dest, url+l.path) }},
		{name: "curl -o, then openssl dgst", fetch: func(l lot, dest string) *exec.Cmd {
			return b.command("sh", "-c", `curl -sf -o "$0" "$1" && openssl dgst -sha256 "$0"`, dest, url+l.path)
		}},
		{name: "curl | tee >(openssl dgst)", fetch: func(l lot, dest string) *exec.Cmd {
			// A pipe with a name, because bash does not count what it substitutes among its children.
			script := `pipe=$0.pipe; mkfifo "$pipe" && { openssl dgst -sha256 <"$pipe" & } && curl -sf "$1" | tee "$pipe" >"$0"; wait; rm "$pipe"`
			return b.command("sh", "-c", script, dest, url+l.path)
		}},
	}
	all, err := s.contest(contenders)
	if err != nil {
		return out, err
	}
	out.Raw = all
	out.Table, out.Goals = judge(all, contenders)
	if !b.quick {
		out.Goals = append(out.Goals, atMost(fmt.Sprintf("%s to %s, verified: wall", all[0].Lot, all[0].Dest), median(walls(all[0].Costs)), 2200*time.Millisecond))
	}
	limits, err := s.limits(b.command("curl", "-sf", "-o", "/dev/null", url+s.lots[0].path))
	out.Notes = append(limits, "nginx is on the same CPUs; slipway calls fsync(2) before it renames, curl does not")
	return out, err
}

// startWeb starts nginx over the store's folder and returns its address, with a slash at the end.
func (s *store) startWeb() (string, error) {
	free, err := ports(1)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(s.dir, "web")
	if err != nil {
		return "", err
	}
	address, user := net.JoinHostPort("127.0.0.1", free[0]), ""
	if os.Geteuid() == 0 {
		user = "user root;" // the folder is root's alone
	}
	config := fmt.Sprintf(`daemon off; worker_processes 1; error_log stderr warn; pid nginx.pid; %s
events {}
http {
  access_log off; sendfile on;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server { listen %s; root %s; }
}
`, user, address, s.root)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return "", err
	}
	return "http://" + address + "/", s.serve(s.command("/usr/sbin/nginx", "-p", dir, "-e", "stderr", "-c", file), address)
}
