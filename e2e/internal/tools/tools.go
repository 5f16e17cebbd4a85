// Package tools finds and builds the programs that the end-to-end tests run: Debian's servers, tools built once from
// the pinned modules below e2e/tools, and slipway itself.
package tools

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// needed are the programs of Debian's packages, by name.
var needed = map[string][]string{
	"nginx":              {"/usr/sbin/nginx"},
	"redis-server":       {"/usr/bin/redis-server"},
	"mariadbd":           {"/usr/sbin/mariadbd"},
	"mariadb-install-db": {"/usr/bin/mariadb-install-db"},
	"postgres":           {"/usr/lib/postgresql/*/bin/postgres"},
	"initdb":             {"/usr/lib/postgresql/*/bin/initdb"},
	"pg_ctl":             {"/usr/lib/postgresql/*/bin/pg_ctl"},
	"etcd":               {"/usr/bin/etcd"},
	"strace":             {"/usr/bin/strace"},
	"ip":                 {"/usr/sbin/ip", "/sbin/ip"},
	"iptables":           {"/usr/sbin/iptables-legacy"},
	"nft":                {"/usr/sbin/nft"},
	"time":               {"/usr/bin/time"},
	"git":                {"/usr/bin/git"},
	"git-lfs":            {"/usr/bin/git-lfs"},
	"fcgiwrap":           {"/usr/sbin/fcgiwrap"},
	"sshd":               {"/usr/sbin/sshd"},
	"ssh-keygen":         {"/usr/bin/ssh-keygen"},
	"ssh-keyscan":        {"/usr/bin/ssh-keyscan"},
	"ssh-agent":          {"/usr/bin/ssh-agent"},
	"ssh-add":            {"/usr/bin/ssh-add"},
	"gpg":                {"/usr/bin/gpg"},
}

// Missing returns the names of the programs that are not installed, sorted.
func Missing() []string {
	var missing []string
	for name := range needed {
		if _, err := find(name); err != nil {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// Main runs the tests of a package, for its TestMain. Where programs are missing it refuses to: in CI, and as root, who can
// install them by script, nothing may be skipped.
func Main(m *testing.M, script string, missing []string) {
	switch {
	case len(missing) == 0:
		code := m.Run()
		Clean()
		os.Exit(code)
	case os.Geteuid() != 0 && os.Getenv("CI") == "":
		fmt.Printf("skipped: not installed: %s (root can run %s)\n", strings.Join(missing, ", "), script)
	default:
		fmt.Printf("not installed: %s: run %s\n", strings.Join(missing, ", "), script)
		os.Exit(1)
	}
}

// Installed returns the path of a program of Debian's packages. The test fails when it is not installed.
func Installed(t testing.TB, name string) string {
	t.Helper()
	path, err := find(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// find returns the path of a needed program; of several versions, the newest.
func find(name string) (string, error) {
	for _, pattern := range needed[name] {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		if len(matches) > 0 {
			return slices.Max(matches), nil
		}
	}
	return "", fmt.Errorf("%s is not installed: run e2e/deps.sh", name)
}

// A built program is built at most once in the life of the test process.
var (
	slipway = sync.OnceValues(buildSlipway)
	built   sync.Map // name → func() (string, error)
)

// pkgs names the package to build of each module below e2e/tools.
var pkgs = map[string]string{
	"consul":    ".",
	"gitea":     "code.gitea.io/gitea",
	"gogit":     ".",
	"dockerize": "github.com/jwilder/dockerize",
	"minio":     "github.com/minio/minio",
	"otelcol":   ".",
	"s5cmd":     "github.com/peak/s5cmd/v2",
	"toxiproxy": "github.com/Shopify/toxiproxy/v2/cmd/server",
	"vault":     ".",
	"versitygw": "github.com/versity/versitygw/cmd/versitygw",
}

// Slipway returns the path of the slipway binary, built from this checkout as it is released: static and stripped.
// The variable SLIPWAY_E2E_BINARY names another one to test.
func Slipway(t testing.TB) string {
	t.Helper()
	path, err := slipway()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func buildSlipway() (string, error) {
	if path := os.Getenv("SLIPWAY_E2E_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(own(), 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(own(), "slipway")
	return path, build(filepath.Dir(root), "./cmd/slipway", path)
}

// own is the folder of the binary under test. Each process has its own, because another run, of sources that have
// changed, must not replace the binary in the middle of this one.
func own() string { return filepath.Join(os.TempDir(), fmt.Sprintf("slipway-e2e-%d", os.Getpid())) }

// Shared returns a folder for what the tests of this process share.
func Shared(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(own(), "shared")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Clean removes the binary under test and what the tests shared. Call it after the last test.
func Clean() { _ = os.RemoveAll(own()) }

// Built returns the path of a tool below e2e/tools, building it into the cache when no process has done so before.
func Built(t testing.TB, name string) string {
	t.Helper()
	path, err := Build(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Build is Built for programs that are no tests.
func Build(name string) (string, error) {
	once, _ := built.LoadOrStore(name, sync.OnceValues(func() (string, error) { return buildTool(name) }))
	return once.(func() (string, error))()
}

func buildTool(name string) (string, error) {
	pkg, ok := pkgs[name]
	if !ok {
		return "", fmt.Errorf("e2e/tools has no %s", name)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "tools", name)
	key, err := sourceKey(source)
	if err != nil {
		return "", err
	}
	dir, err := cache()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+"-"+key, name)
	unlock, err := lock(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, build(source, pkg, path)
}

// ModuleDir returns the folder with the sources of a module that a tool is built from: some programs read files of theirs.
func ModuleDir(t testing.TB, name, module string) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = filepath.Join(root, "tools", name)
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "PWD="+cmd.Dir)
	out, err := cmd.Output()
	if dir := strings.TrimSpace(string(out)); err == nil && dir != "" {
		return dir
	}
	t.Fatalf("find the sources of %s: %v", module, err)
	return ""
}

// build builds one package of the module at dir and publishes the binary by rename.
func build(dir, pkg, path string) error {
	fresh := path + ".new"
	cmd := exec.Command("go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags=grpcnotrace", "-ldflags=-s -w", "-o", fresh, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "PWD="+dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s in %s: %w\n%s", pkg, dir, err, output)
	}
	return os.Rename(fresh, path)
}

// cache returns the folder of built tools: SLIPWAY_E2E_CACHE, or slipway-e2e in the user's cache.
func cache() (string, error) {
	if dir := os.Getenv("SLIPWAY_E2E_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "slipway-e2e"), err
}

// lock creates dir and holds it for this process alone until the returned function is called.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// sourceKey names what a tool is built from: its files, which pin every version, and the Go release.
func sourceKey(dir string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH)
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(sum, name[len(dir):])
		_, err = io.Copy(sum, f)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil))[:12], err
}

// moduleRoot returns the folder of the e2e module, which tests run in or below.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "deps.sh")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the tests run outside the e2e module")
		}
		dir = parent
	}
}

// Run runs a program of every Debian to its end; the test fails when it fails.
func Run(t testing.TB, name string, args ...string) {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, output)
	}
}
