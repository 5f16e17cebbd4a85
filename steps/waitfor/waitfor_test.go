package waitfor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

func TestConform(t *testing.T) {
	steptest.Conform(t, Kind, steptest.Options{"target=tcp://127.0.0.1:1"},
		steptest.Case{
			Name:  "port",
			Setup: func(t *testing.T, _ string) steptest.Options { return steptest.Options{"target=tcp://" + accept(t)} },
		},
		steptest.Case{
			Name:    "any",
			Options: steptest.Options{"target=tcp://127.0.0.1:1", "any=true", "stable=2", "interval=1ms"},
			Setup:   func(t *testing.T, _ string) steptest.Options { return steptest.Options{"target=tcp://" + accept(t)} },
		},
		steptest.Case{
			Name:    "file",
			Options: steptest.Options{"target=file:///ready", "not-empty=true"},
			Setup: func(t *testing.T, root string) steptest.Options {
				write(t, filepath.Join(root, "ready"), "yes")
				return nil
			},
		},
		steptest.Case{Name: "not", Options: steptest.Options{"target=file:///ready", "not=true"}},
	)
}

// accept starts a listener that accepts and closes, and returns its address.
func accept(t *testing.T) string {
	return serve(t, func(net.Conn) {})
}

// serve starts a listener that handles each connection and then closes it, and returns its address.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// refusing returns an address that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// once returns what one look says, through the real runner.
func once(t *testing.T, options steptest.Options, environ ...string) error {
	t.Helper()
	task := steptest.Task(t, Kind, options)
	task.Policy.Retries = 0
	return steptest.Run(t.Context(), task, "", environ...).Err
}

// expect compares an error's kind and text; an empty text means success.
func expect(t *testing.T, got error, kind fault.Kind, text string) {
	t.Helper()
	if text == "" {
		if got != nil {
			t.Errorf("got %v, want success", got)
		}
		return
	}
	if got == nil || fault.KindOf(got) != kind || !strings.Contains(got.Error(), text) {
		t.Errorf("got %v (%s), want %s with %q", got, fault.KindOf(got), kind, text)
	}
}

func TestItWaitsUntilThePortOpens(t *testing.T) {
	addr := refusing(t)
	task := steptest.Task(t, Kind, steptest.Options{"target=tcp://" + addr})
	runner := steptest.Runner("")
	looks := make(chan struct{}, 1)
	runner.Observer = &observer{retry: func(run.Retry) {
		select {
		case looks <- struct{}{}:
		default:
		}
	}}
	go func() {
		<-looks // it has looked and was refused
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { listener.Close() })
	}()
	result := runner.Run(t.Context(), &plan.Plan{Root: plan.Sequence{task}}).Tasks[task]
	if result.Err != nil || result.Attempts < 2 {
		t.Errorf("got %v after %d attempts, want success after a retry", result.Err, result.Attempts)
	}
	if waited := steptest.Outputs(result)["waited.tcp://"+addr]; waited == "" {
		t.Errorf("got outputs %v, want how long it waited", result.Outputs)
	}
}

// observer is told of retries.
type observer struct{ retry func(run.Retry) }

func (o *observer) Start(*plan.Task)                  {}
func (o *observer) Retry(_ *plan.Task, r run.Retry)   { o.retry(r) }
func (o *observer) Progress(*plan.Task, int64, int64) {}
func (o *observer) End(*plan.Task, run.TaskResult)    {}

func TestATimeoutNamesAllThatAreMissing(t *testing.T) {
	refused, there := refusing(t), accept(t)
	silent := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	task := steptest.Task(t, Kind, steptest.Options{
		"target=tcp://" + refused, "target=tcp://" + there, "target=file:///nonexistent/file", "target=redis://" + silent, "look-timeout=1m",
	})
	task.Policy.Timeout = 2 * time.Second
	result := steptest.Run(t.Context(), task, t.TempDir())
	want := fmt.Sprintf("wait-for: timed out after 2s: 3 of 4 targets: tcp://%s: connection refused; "+
		"file:///nonexistent/file: no such file; redis://%s: no answer yet", refused, silent)
	if result.Err == nil || result.Err.Error() != want || fault.KindOf(result.Err) != fault.Unavailable {
		t.Errorf("got  %v\nwant %s", result.Err, want)
	}
	if got := steptest.Outputs(result); len(got) != 1 || got["waited.tcp://"+there] == "" {
		t.Errorf("got outputs %v, want that of the target that is there", got)
	}
}

func TestAnyIsContentWithOne(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"target=tcp://" + refusing(t), "target=tcp://" + accept(t), "any=true"})
	expect(t, steptest.Run(t.Context(), task, "").Err, 0, "")
}

func TestAnyFailsWhenAllHaveFailed(t *testing.T) {
	page := pages(t, map[string]string{"/": "403"})
	task := steptest.Task(t, Kind, steptest.Options{"target=" + page + "/", "target=" + page + "/?b", "any=true", "fail-fast=true"})
	result := steptest.Run(t.Context(), task, "")
	expect(t, result.Err, fault.Permission, "2 of 2 targets: "+page+"/: status 403 Forbidden; "+page+"/?…: status 403 Forbidden")
}

func TestFailFastEndsTheOthers(t *testing.T) {
	page := pages(t, map[string]string{"/": "401"})
	task := steptest.Task(t, Kind, steptest.Options{"target=tcp://" + refusing(t), "target=" + page + "/", "fail-fast=true"})
	result := steptest.Run(t.Context(), task, "")
	expect(t, result.Err, fault.Permission, "wait-for: "+page+"/: status 401 Unauthorized")
	if fault.HintOf(result.Err) == "" {
		t.Error("got no hint")
	}
}

func TestStableWantsLooksInARow(t *testing.T) {
	var looks atomic.Int64
	addr := serve(t, func(c net.Conn) {
		n := looks.Add(1)
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			return
		}
		if n == 3 {
			fmt.Fprint(c, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	task := steptest.Task(t, Kind, steptest.Options{"target=http://" + addr, "stable=3", "interval=1ms"})
	result := steptest.Run(t.Context(), task, "")
	if result.Err != nil || result.Attempts != 6 { // two looks, a failure, three looks
		t.Errorf("got %v after %d attempts, want success after 6", result.Err, result.Attempts)
	}
}

func TestNotBelievesOnlyWhatIsCertain(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "x")
	page := pages(t, map[string]string{"/ok": "200", "/down": "503", "/secret": "401"})
	cut := serve(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) })
	self := newAuthority(t).server(t, time.Hour, "127.0.0.1")
	for _, c := range []struct{ target, text string }{
		{"tcp://" + refusing(t), ""},
		{"tcp://" + accept(t), "is still there"},
		{"file://" + dir + "/absent", ""},
		{"file://" + dir + "/file/below", ""},
		{"file://" + dir + "/file", "is still there"},
		{"unix://" + dir + "/absent", ""},
		{"http://" + refusing(t), ""},
		{page + "/down", ""},
		{page + "/ok", "is still there"},
		{page + "/secret", "status 401"},
		{"http://" + cut, "the server has closed the connection"},
		{"postgres://" + refusing(t), ""},
		{"grpc://" + refusing(t), ""},
		{"tls://" + listenTLS(t, self), "certificate"},
	} {
		expect(t, once(t, steptest.Options{"target=" + c.target, "not=true"}), fault.Unavailable, c.text)
	}
}

func TestALookHasATimeLimit(t *testing.T) {
	silent := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for _, scheme := range []string{"tls", "http", "https", "grpc", "grpcs", "postgres", "mysql", "redis", "rediss"} {
		for _, not := range []string{"false", "true"} {
			err := once(t, steptest.Options{"target=" + scheme + "://" + silent, "look-timeout=50ms", "not=" + not})
			expect(t, err, fault.Unavailable, "no answer within 50ms")
		}
	}
}

func TestUnusableFilesOfTheOptionsFailAtOnce(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "junk"), "junk")
	write(t, filepath.Join(root, "blank"), "\n")
	for _, c := range []struct {
		options steptest.Options
		kind    fault.Kind
		text    string
	}{
		{steptest.Options{"target=https://127.0.0.1", "ca-file=/absent"}, fault.NoInput, "read /absent: no such file"},
		{steptest.Options{"target=https://127.0.0.1", "ca-file=/junk"}, fault.Data, "read /junk: it holds no PEM certificate"},
		{steptest.Options{"target=https://127.0.0.1", "cert-file=/junk", "key-file=/absent"}, fault.NoInput, "read /absent"},
		{steptest.Options{"target=https://127.0.0.1", "cert-file=/junk", "key-file=/junk"}, fault.Data, "read /junk and /junk"},
		{steptest.Options{"target=redis://127.0.0.1", "password-from=env:ABSENT"}, fault.NoInput, "ABSENT is not set"},
		{steptest.Options{"target=redis://127.0.0.1", "password-from=file:/blank"}, fault.Data, "the password of file:/blank is empty"},
		{steptest.Options{"target=http://127.0.0.1", "header-from=A=env:ABSENT"}, fault.NoInput, "header A: "},
		{steptest.Options{"target=http://127.0.0.1", "header-from=A=env:BAD"}, fault.Data, "the value of env:BAD"},
	} {
		expect(t, steptest.Run(t.Context(), steptest.Task(t, Kind, c.options), root, "BAD=hunter\x002").Err, c.kind, c.text)
	}
}

func TestALookedAtTargetCostsNoDescriptor(t *testing.T) {
	page := pages(t, map[string]string{"/": "503"})
	addr := accept(t)
	health := startHealth(t, nil)
	task := steptest.Task(t, Kind, steptest.Options{
		"target=" + page + "/", "target=grpc://" + health.addr, "target=tcp://" + addr, "target=tls://" + addr, "target=mysql://" + addr,
		"interval=1ms", "stable=1000000",
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var before, after, looks int
	runner := steptest.Runner("")
	seen := make(chan struct{}, 1<<20)
	runner.Observer = &observer{retry: func(run.Retry) { seen <- struct{}{} }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runner.Run(ctx, &plan.Plan{Root: plan.Sequence{task}})
	}()
	for range seen {
		if looks++; looks == 50 {
			before = descriptors(t)
		}
		if looks == 1000 { // 200 looks at each, more or less
			after = descriptors(t)
			break
		}
	}
	cancel(errors.New("enough"))
	<-done
	if after > before+30 { // a few are open at any time
		t.Errorf("got %d descriptors after 1000 looks, had %d after 50", after, before)
	}
}

// descriptors counts this process's open descriptors.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestPace(t *testing.T) {
	for _, c := range []struct{ elapsed, want time.Duration }{
		{-time.Second, 20 * time.Millisecond},
		{0, 20 * time.Millisecond},
		{time.Second, 20 * time.Millisecond},
		{2 * time.Second, 40 * time.Millisecond},
		{3 * time.Second, 90 * time.Millisecond},
		{5 * time.Second, 250 * time.Millisecond},
		{time.Minute, 250 * time.Millisecond},
		{1<<63 - 1, 250 * time.Millisecond},
	} {
		if got := pace(c.elapsed); got != c.want {
			t.Errorf("pace(%s): got %s, want %s", c.elapsed, got, c.want)
		}
	}
	// What is promised: 50 looks a second at most in the first, 4 from the fifth on.
	looks, at := 0, time.Duration(0)
	for ; at < time.Second; at += pace(at) {
		looks++
	}
	if looks > 50 {
		t.Errorf("got %d looks in the first second, want 50 at most", looks)
	}
	task := steptest.Task(t, Kind, steptest.Options{"target=tcp://a:1", "interval=3s"})
	if got, want := task.Policy.Pace(time.Hour), 3*time.Second; got != want {
		t.Errorf("--interval: got %s, want %s", got, want)
	}
}

func TestFilesAndSockets(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "empty"), "")
	write(t, filepath.Join(root, "state"), "phase: ready\n")
	if err := os.Mkdir(filepath.Join(root, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root) // the path of a socket is short
	listener, err := net.Listen("unix", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, c := range []struct {
		options steptest.Options
		text    string
	}{
		{steptest.Options{"target=file:///empty"}, ""},
		{steptest.Options{"target=file:///absent"}, "no such file"},
		{steptest.Options{"target=file:///empty", "not-empty=true"}, "is empty"},
		{steptest.Options{"target=file:///dir", "not-empty=true"}, "is empty"},
		{steptest.Options{"target=file:///state", "not-empty=true", "content-regex=(?m)^phase: ready$"}, ""},
		{steptest.Options{"target=file:///state", "content-regex=failed"}, "its content does not match failed"},
		{steptest.Options{"target=file:///dir", "content-regex=x"}, "is not a regular file"},
	} {
		task := steptest.Task(t, Kind, c.options)
		task.Policy.Retries = 0
		expect(t, steptest.Run(t.Context(), task, root).Err, fault.Unavailable, c.text)
	}
	if len(root) < 90 {
		expect(t, once(t, steptest.Options{"target=unix://" + root + "/s"}), 0, "")
	}
	expect(t, once(t, steptest.Options{"target=unix://" + root + "/absent"}), fault.Unavailable, "no such file")
	expect(t, once(t, steptest.Options{"target=unix://" + root + "/state"}), fault.Unavailable, "connection refused")
}

// script is a recorded exchange: lines of "C" and what the client must send, "S" and what the server sends then, each
// as a Go string, or "*n" for any n bytes.
func script(t *testing.T, lines string) string {
	t.Helper()
	return serve(t, func(c net.Conn) {
		defer func() { // a close with something unread would be a reset, which may overtake the last answer
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}()
		for line := range strings.Lines(lines) {
			who, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			if length, anything := strings.CutPrefix(text, "*"); anything {
				n, _ := strconv.Atoi(length)
				if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
					t.Errorf("read %d bytes: %v", n, err)
				}
				continue
			}
			message, err := strconv.Unquote(text)
			if err != nil {
				t.Errorf("%s: %v", line, err)
				return
			}
			if who == "S" {
				_, _ = io.WriteString(c, message)
				continue
			}
			got := make([]byte, len(message))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != message {
				t.Errorf("got %q, %v\nwant %q", got, err, message)
				return
			}
		}
	})
}

func TestDatabases(t *testing.T) {
	const login = "password-from=env:PW"
	for _, c := range []struct {
		recorded string // a file in testdata, recorded from PostgreSQL 15, MariaDB 10.11, Redis 7 and go-mysql's server
		target   string
		option   string
		kind     fault.Kind
		text     string
	}{
		{"postgres-trust", "postgres://trusted@ADDR/app?sslmode=disable", "", 0, ""},
		{"postgres-asks", "postgres://postgres@ADDR/nosuch?sslmode=disable", "", 0, ""},
		{"postgres-cleartext", "postgres://plain@ADDR/app?sslmode=disable", login, 0, ""},
		{"postgres-md5", "postgres://md5u@ADDR/app?sslmode=disable", login, 0, ""},
		{"postgres-md5-wrong", "postgres://md5u@ADDR/app?sslmode=disable", "password-from=env:BAD", fault.Permission, "password authentication failed"},
		{"postgres-no-database", "postgres://trusted@ADDR/nosuch?sslmode=disable", "", fault.Unavailable, `database "nosuch" does not exist`},
		{"mariadb-denied", "mysql://ADDR?tls=disable", "", 0, ""},
		{"mariadb-native", "mysql://native@ADDR/app?tls=disable", login, 0, ""},
		{"mysql8-cached", "mysql://app@ADDR?tls=disable", login, 0, ""},
		{"mysql8-rsa", "mysql://app@ADDR?tls=disable", login, 0, ""},
		{"redis-noauth", "redis://ADDR", "", 0, ""},
		{"redis-login", "redis://ADDR/1", login, 0, ""},
		{"redis-wrong", "redis://ADDR/1", "password-from=env:BAD", fault.Permission, "WRONGPASS"},
	} {
		t.Run(c.recorded, func(t *testing.T) {
			lines, err := os.ReadFile(filepath.Join("testdata", c.recorded+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			options := steptest.Options{"target=" + strings.Replace(c.target, "ADDR", script(t, string(lines)), 1), "fail-fast=true"}
			if c.option != "" {
				options = append(options, c.option)
			}
			expect(t, once(t, options, "PW=pw", "BAD=bad"), c.kind, c.text)
		})
	}
}

func TestDatabasesThatAreNotReady(t *testing.T) {
	const starting = `S "E\x00\x00\x00\x29C57P03\x00Mthe database is starting up\x00\x00"`
	for _, c := range []struct {
		name, target, lines string
		kind                fault.Kind
		text                string
	}{
		{"starting", "postgres://ADDR?sslmode=disable", "C *48\n" + starting, fault.Unavailable, "the database is starting up (SQLSTATE 57P03)"},
		{"no TLS", "postgres://ADDR?sslmode=require", `S "N"`, fault.Unsupported, "speaks no TLS"},
		{"refuses TLS", "postgres://ADDR", `S "E"`, fault.Unavailable, "refuses to talk"},
		{"strange kerberos", "postgres://ADDR?sslmode=disable", `S "R\x00\x00\x00\x08\x00\x00\x00\x07"`, fault.Unsupported, "kind 7"},
		{"huge", "postgres://ADDR?sslmode=disable", `S "R\x7f\xff\xff\xff"`, fault.Unsupported, "not of PostgreSQL"},
		{"no scram", "postgres://ADDR?sslmode=disable", `S "R\x00\x00\x00\x0f\x00\x00\x00\x0aOTHER\x00\x00"`, fault.Unsupported, "SCRAM-SHA-256"},
		{"SSH", "postgres://ADDR?sslmode=disable", `S "SSH-2.0-OpenSSH_9.2\r\n"`, fault.Unsupported, "not of PostgreSQL"},
		{"too many", "mysql://ADDR", `S "\x17\x00\x00\x00\xff\x10\x04Too many connections"`, fault.Unavailable, "Too many connections (error 1040)"},
		{"blocked", "mysql://ADDR", `S "\x13\x00\x00\x00\xff\x69\x04Host is blocked."`, fault.Permission, "Host is blocked. (error 1129)"},
		{"old", "mysql://ADDR", `S "\x05\x00\x00\x00\x094.0\x00"`, fault.Unsupported, "not of MySQL"},
		{"empty", "mysql://ADDR", `S "\x00\x00\x00\x00"`, fault.Unsupported, "not of MySQL"},
		{"cut", "mysql://ADDR", `S "\x05\x00"`, fault.Unavailable, "has closed the connection"},
		{"loading", "redis://ADDR", `S "-LOADING Redis is loading the dataset in memory\r\n"`, fault.Unavailable, "LOADING"},
		{"protected", "redis://ADDR", `S "-DENIED Redis is running in protected mode\r\n"`, fault.Permission, "DENIED"},
		{"web", "redis://ADDR", `S "HTTP/1.1 400 Bad Request\r\n"`, fault.Unsupported, "not of Redis"},
		{"evil", "redis://ADDR", `S "-ERR \x1b[2J\xff\r\n"`, fault.Unavailable, "ERR  [2J?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := c.lines
			if !strings.HasPrefix(lines, "C") && strings.HasPrefix(c.target, "postgres") {
				lines = "C *8\n" + lines // whatever it says first
			}
			if strings.HasPrefix(c.target, "redis") {
				lines = "C *14\n" + lines
			}
			addr := script(t, lines)
			err := once(t, steptest.Options{"target=" + strings.Replace(c.target, "ADDR", addr, 1), "fail-fast=true", "password-from=env:PW"}, "PW=pw")
			expect(t, err, c.kind, c.text)
		})
	}
}

func TestAPasswordIsNotSentInClearTextToWhoeverAsks(t *testing.T) {
	p := &postgres{password: "hunter2", private: false}
	err := p.authenticate([]byte{0, 0, 0, authCleartext})
	expect(t, err, fault.Permission, "in clear text")
	if regexp.MustCompile("hunter2").MatchString(fault.Describe(err)) {
		t.Errorf("the error tells the password: %v", err)
	}
	m := &mysql{password: "hunter2", security: prefer}
	_, err = m.prove(clearPassword, nil)
	expect(t, err, fault.Permission, "in clear text")
}

// The exchange is that of RFC 7677, section 3.
func TestScram(t *testing.T) {
	s := &scram{password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO"}
	s.bare = "n=user,r=" + s.nonce
	const challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	got, err := s.final(challenge)
	want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if err := s.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "v=", "v=AAAA", "e=other-error"} {
		expect(t, s.verify(wrong), fault.Permission, "has not proved")
	}
	for _, wrong := range []string{
		"", "r=other,s=W22Z,i=4096", "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", "r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0", "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=2000000000", "r=rOprNGfwEbeRWgbNEkqOx,s=!,i=1",
	} {
		_, err := s.final(wrong)
		expect(t, err, fault.Unsupported, "malformed")
	}
}

func FuzzServers(f *testing.F) {
	f.Add([]byte("\x0a8.0.11\x00\x27\x00\x00\x00abcdefgh\x00\xff\xff\x21\x02\x00\xff\xff\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00caching_sha2_password\x00"))
	f.Add([]byte("SFATAL\x00C57P03\x00Mstarting\x00\x00"))
	f.Add([]byte("r=abc,s=W22Z,i=4096"))
	f.Add([]byte("-NOAUTH Authentication required.\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if h, ok := parseHello(answer); ok && len(h.scramble) != 20 {
			t.Errorf("got a scramble of %d bytes", len(h.scramble))
		}
		if len(answer) > 0 {
			parseSwitch(answer)
			parseMySQLError(answer)
		}
		parsePostgresError(answer)
		if _, salt, n, ok := parseChallenge(string(answer)); ok && (len(salt) == 0 || n < 1) {
			t.Error("got an empty challenge")
		}
		_ = redisReply(string(answer), "PONG")
		_, _ = seal(answer, "x", []byte("scramble"))
		if text := printable(string(answer)); len(text) > 300 {
			t.Errorf("got %d bytes", len(text))
		}
	})
}
