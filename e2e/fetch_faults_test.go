package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/faultproxy"
	"github.com/slipway-init/slipway/e2e/internal/servers"
)

// rule is a rule of a fault proxy.
type rule = func(*faultproxy.Request) faultproxy.Fault

// always spoils every GET.
func always(f faultproxy.Fault) rule {
	return func(r *faultproxy.Request) faultproxy.Fault {
		if r.Get == 0 {
			return faultproxy.Fault{}
		}
		return f
	}
}

// first spoils the first GETs, and later ones not.
func first(n int64, f faultproxy.Fault) rule {
	return func(r *faultproxy.Request) faultproxy.Fault {
		if r.Get == 0 || r.Get > n {
			return faultproxy.Fault{}
		}
		return f
	}
}

// only spoils one GET.
func only(n int64, f faultproxy.Fault) rule {
	return func(r *faultproxy.Request) faultproxy.Fault {
		if r.Get != n {
			return faultproxy.Fault{}
		}
		return f
	}
}

// refusal is an answer without the object.
func refusal(status int, body string) faultproxy.Fault {
	return faultproxy.Fault{Status: status, Body: body, Header: http.Header{"Content-Type": {"application/xml"}}}
}

// claims is an answer with a header that is not true.
func claims(header, value string) faultproxy.Fault {
	return faultproxy.Fault{Claim: map[string]string{header: value}}
}

// What a server, or something on the way to it, may do to a fetch: whatever can be fetched is, and is right; of what cannot,
// nothing is at the target, and the exit code says why.
func TestFetchDespiteFaults(t *testing.T) {
	t.Parallel()
	const size = 40 << 20
	content := noise(1, size)
	patient := refusal(503, slowDown)
	patient.Header.Set("Retry-After", "1")
	for _, o := range origins(t) {
		o.put(t, "object", content)
		for _, c := range []struct {
			name string
			rule rule
			exit int
			text string
		}{
			{"no fault", nil, 0, ""},
			{"reset in the middle of parts", first(3, faultproxy.Fault{Cut: 3 << 20, Reset: true}), 0, "trying again"},
			{"reset of every second answer", func(r *faultproxy.Request) faultproxy.Fault {
				if r.Get%2 == 0 {
					return faultproxy.Fault{Cut: 1 << 20, Reset: true}
				}
				return faultproxy.Fault{}
			}, 0, "trying again"},
			{"reset for ever", always(faultproxy.Fault{Cut: faultproxy.None, Reset: true}), 74, "reset"},
			{"truncated parts", first(3, faultproxy.Fault{Cut: 1 << 20}), 0, "trying again"},
			{"truncated for ever, but with a MiB each time", always(faultproxy.Fault{Cut: 1 << 20}), 0, "trying again"},
			{"truncated for ever", always(faultproxy.Fault{Cut: faultproxy.None}), 74, "EOF"},
			{"Content-Length that is too long", first(2, claims("Content-Length", fmt.Sprint(size*2))), 65, fmt.Sprint(size * 2)},
			{"Content-Length that is too short", first(2, claims("Content-Length", "1000")), 65, "1000"},
			{"no Content-Length, and truncated", first(2, faultproxy.Fault{Claim: map[string]string{"Content-Length": ""}, Cut: 1 << 20}), 0, ""},
			{"Content-Range of other bytes", only(3, claims("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 1<<20, size))), 65, "104857"},
			{"Content-Range of another size", always(claims("Content-Range", fmt.Sprintf("bytes 0-8388607/%d", size+1))), 65, ""},
			{"Range ignored", always(faultproxy.Fault{IgnoreRange: true}), 0, ""},
			{"Range ignored by every third answer", func(r *faultproxy.Request) faultproxy.Fault {
				return faultproxy.Fault{IgnoreRange: r.Get%3 == 0}
			}, 0, "trying again"},
			{"Range ignored, and reset", func(r *faultproxy.Request) faultproxy.Fault {
				if r.Get < 3 {
					return faultproxy.Fault{IgnoreRange: true, Cut: 9 << 20, Reset: true}
				}
				return faultproxy.Fault{IgnoreRange: true}
			}, 0, "trying again"},
			{"one slow connection", only(3, faultproxy.Fault{Rate: 64 << 10}), 0, ""},
			{"one connection that hangs", only(3, faultproxy.Fault{Hang: 100_000}), 0, ""},
			{"one connection that hangs before its first byte", only(4, faultproxy.Fault{Hang: faultproxy.None}), 0, ""},
			{"a storm of 503", first(6, refusal(503, slowDown)), 0, "503"},
			{"a storm of 503 with Retry-After", first(2, patient), 0, "503"},
			{"503 in the middle", func(r *faultproxy.Request) faultproxy.Fault {
				if r.Get > 1 && r.Get < 8 {
					return refusal(503, slowDown)
				}
				return faultproxy.Fault{}
			}, 0, "503"},
			{"503 for ever", always(refusal(503, slowDown)), 75, "503"},
			{"429", first(3, refusal(429, "")), 0, "429"},
			{"500 for ever", always(refusal(500, fmt.Sprintf(s3Error, "InternalError", "We encountered an internal error."))), 75, "500"},
			{"403", always(refusal(403, fmt.Sprintf(s3Error, "AccessDenied", "Access Denied"))), 77, "403"},
			{"404", always(refusal(404, fmt.Sprintf(s3Error, "NoSuchKey", "The specified key does not exist."))), 66, ""},
			{"a wrong byte", always(faultproxy.Fault{Flip: 12_345}), 65, digest(content)[:8]},
		} {
			t.Run(o.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				proxy := faultproxy.Start(t, o.addr)
				proxy.Spoil(c.rule)
				dir := t.TempDir()
				dest := filepath.Join(dir, "object")
				r := o.fetch(proxy.Addr, "object", dest, "--sha256", digest(content), "--retries", "6", "--backoff", "20ms").Run(t)
				expect(t, r, c.exit, c.text)
				t.Logf("%s, %+v", r.Elapsed.Round(time.Millisecond), proxy.Counts())
				switch c.exit {
				case 0:
					holds(t, dest, content)
					alone(t, dir, "object")
				case 65:
					alone(t, dir)
				default:
					absent(t, dest)
				}
			})
		}
	}
}

// What slipway is told of no digest is proven by what the server says of it, where it says anything; and what is wrong in
// length is never taken for whole.
func TestFetchOfAnUnknownDigestDespiteFaults(t *testing.T) {
	t.Parallel()
	content := noise(2, 40<<20)
	for _, o := range origins(t) {
		o.put(t, "object", content)
		for _, c := range []struct {
			name string
			rule rule
		}{
			{"reset in the middle of parts", first(3, faultproxy.Fault{Cut: 3 << 20, Reset: true})},
			{"truncated parts", first(3, faultproxy.Fault{Cut: 1 << 20})},
			{"no Content-Length, and truncated", first(2, faultproxy.Fault{Claim: map[string]string{"Content-Length": ""}, Cut: 1 << 20})},
			{"Range ignored, and truncated", first(2, faultproxy.Fault{IgnoreRange: true, Cut: 1 << 20})},
		} {
			t.Run(o.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				proxy := faultproxy.Start(t, o.addr)
				proxy.Spoil(c.rule)
				dir := t.TempDir()
				dest := filepath.Join(dir, "object")
				expect(t, o.fetch(proxy.Addr, "object", dest, "--retries", "6", "--backoff", "20ms").Run(t), 0)
				holds(t, dest, content)
				alone(t, dir, "object")
			})
		}
	}
}

// Networks that know nothing of HTTP.
func TestFetchOverBadNetworks(t *testing.T) {
	t.Parallel()
	content := noise(3, 40<<20)
	for _, o := range origins(t) {
		o.put(t, "object", content)
		for _, c := range []struct {
			name, toxic string
			attributes  map[string]any
			options     []string
			exit        int
		}{
			{"latency", "latency", map[string]any{"latency": 100, "jitter": 50}, nil, 0},
			{"small packets", "slicer", map[string]any{"average_size": 1000, "size_variation": 500, "delay": 1}, nil, 0},
			{"little bandwidth", "bandwidth", map[string]any{"rate": 20_000}, nil, 0},
			{"a few MB for each connection", "limit_data", map[string]any{"bytes": 3_000_000}, nil, 0},
			{"reset", "reset_peer", map[string]any{"timeout": 0}, []string{"--retries", "2"}, 74},
			{"black hole", "timeout", map[string]any{"timeout": 0}, []string{"--timeout", "2s"}, 69},
		} {
			t.Run(o.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				proxy := servers.StartProxy(t, o.addr)
				proxy.Spoil(t, c.toxic, c.attributes)
				dest := filepath.Join(t.TempDir(), "object")
				options := append([]string{"--sha256", digest(content), "--backoff", "20ms"}, c.options...)
				r := o.fetch(proxy.Addr, "object", dest, options...).Run(t)
				expect(t, r, c.exit)
				t.Log(r.Elapsed.Round(time.Millisecond))
				if c.exit == 0 {
					holds(t, dest, content)
				} else {
					absent(t, dest)
				}
			})
		}
		t.Run(o.name+"/nobody there", func(t *testing.T) {
			t.Parallel()
			dest := filepath.Join(t.TempDir(), "object")
			r := o.fetch("127.0.0.1:"+servers.FreePort(t), "object", dest, "--retries", "1").Run(t)
			expect(t, r, 69, "connection refused")
			absent(t, dest)
		})
	}
}

// A server that throttles is asked less, until all is there.
func TestFetchFromAThrottlingServer(t *testing.T) {
	t.Parallel()
	small := make(map[string][]byte)
	gateway := servers.StartVersitygw(t)
	s3 := fromS3(t, "versitygw", gateway)
	for i := range 60 {
		key := fmt.Sprintf("%02d", i)
		small[key] = noise(byte(i), 1000)
		s3.put(t, "many/"+key, small[key])
	}
	throttle := servers.StartNginx(t, "", servers.Throttle(gateway.Addr))
	dir := filepath.Join(t.TempDir(), "many")
	r := s3.fetch(throttle.Addr, "many/", dir, "--retries", "10", "--backoff", "50ms").Run(t)
	expect(t, r, 0, "503")
	for key, content := range small {
		holds(t, filepath.Join(dir, key), content)
	}

	web := fromNginx(t)
	content := noise(4, 64<<20)
	web.put(t, "object", content)
	dest := filepath.Join(t.TempDir(), "object")
	expect(t, web.fetch(web.addr, "throttled/object", dest, "--sha256", digest(content), "--retries", "10", "--backoff", "50ms").Run(t), 0)
	holds(t, dest, content)
}

// An object that is replaced half-way is fetched again from its beginning: the target is of one version, never a mix.
func TestFetchOfAnObjectThatIsReplaced(t *testing.T) {
	t.Parallel()
	before, after := noise(5, 40<<20), noise(6, 40<<20)
	for _, o := range origins(t) {
		for _, c := range []struct {
			name    string
			options []string
			exit    int
		}{
			{"no digest", nil, 0},
			{"the digest of the new one", []string{"--sha256", digest(after)}, 0},
			{"the digest of the old one", []string{"--sha256", digest(before)}, 65},
		} {
			t.Run(o.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				key := strings.ReplaceAll(c.name, " ", "-")
				o.put(t, key, before)
				proxy := faultproxy.Start(t, o.addr)
				var once sync.Once
				proxy.Spoil(func(r *faultproxy.Request) faultproxy.Fault {
					if r.Get == 3 {
						once.Do(func() { o.put(t, key, after) })
					}
					return faultproxy.Fault{}
				})
				dir := t.TempDir()
				dest := filepath.Join(dir, "object")
				r := o.fetch(proxy.Addr, key, dest, append(c.options, "--retries", "2", "--backoff", "20ms")...).Run(t)
				expect(t, r, c.exit)
				if c.exit == 0 {
					holds(t, dest, after)
					alone(t, dir, "object")
				} else {
					alone(t, dir)
				}
			})
		}
	}
}

// A name that cannot be resolved at first is asked for again.
func TestFetchWhenDNSFailsTwice(t *testing.T) {
	needRoot(t, "the DNS server needs port 53, and resolv.conf is mounted over")
	t.Parallel()
	d := servers.StartDNS(t)
	d.Set("store.test", "127.0.0.1")
	content := noise(7, 1<<20)
	for _, o := range origins(t) {
		o.put(t, "object", content)
		_, port, _ := strings.Cut(o.addr, ":")
		dest := filepath.Join(t.TempDir(), "object")
		command := o.fetch("store.test:"+port, "object", dest, "--sha256", digest(content), "--retries", "10", "--backoff", "100ms")
		command.Prefix = []string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, d.ResolvConf}
		before := d.Failed()
		d.Fail(true)
		run := command.Start(t)
		await(t, "two failed looks", func() bool { return d.Failed() >= before+4 })
		d.Fail(false)
		expect(t, run.Wait(t), 0)
		holds(t, dest, content)
	}
}
