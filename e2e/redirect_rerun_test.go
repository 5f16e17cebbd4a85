package e2e

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pod"
)

// flow is a steady flow of connections that are all to be redirected.
type flow struct {
	made  atomic.Int64
	wrong sync.Map // answer → true
	stop  chan struct{}
	wait  sync.WaitGroup
}

// startFlow calls in turns, out of the pod and into it, in both families, until it is stopped.
func startFlow(p *pod.Pod) *flow {
	f := &flow{stop: make(chan struct{})}
	for _, family := range []int{4, 6} {
		service := netip.AddrPortFrom(pod.Server.Of(family), 80)
		own := netip.AddrPortFrom(pod.Own.Of(family), 8080)
		f.keep(p.Inside, pod.Call{UID: application, GID: application, To: service}, "out "+service.String())
		f.keep(p.Outside, pod.Call{To: own}, "in "+own.String())
	}
	return f
}

func (f *flow) keep(from *pod.Namespace, call pod.Call, want string) {
	f.wait.Go(func() {
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			if got := from.Call(call); got != want {
				f.wrong.Store(call.To.String()+" got "+got, true)
			}
			f.made.Add(1)
		}
	})
}

// end stops the flow and checks that all of it went to the proxy.
func (f *flow) end(t *testing.T) {
	t.Helper()
	close(f.stop)
	f.wait.Wait()
	f.wrong.Range(func(answer, _ any) bool {
		t.Errorf("%s, want the proxy", answer)
		return true
	})
}

// While rules are replaced by others a thousand times, no connection escapes and none is refused.
func TestRedirectIsReplacedUnderAFlow(t *testing.T) {
	needRoot(t, "network namespaces")
	for backend, runs := range map[string]int{"nft": 1000, "iptables-nft": 200, "iptables-legacy": 200} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := inhabited(t, false)
			options := []string{"--preset", "istio", "--backend", backend, "--exclude-outbound-ports"}
			expect(t, redirect(t, p, append(options, "1")...), 0)
			f := startFlow(p)
			for i := range runs {
				// Each run has other rules than the one before: none is a skip.
				r := redirect(t, p, append(options, strconv.Itoa(1+(i+1)%2))...)
				if r.Exit != 0 {
					expect(t, r, 0)
					break
				}
			}
			f.end(t)
			t.Logf("%d connections during %d replacements", f.made.Load(), runs)
			if f.made.Load() < int64(runs) {
				t.Errorf("got %d connections, want one for each run at least", f.made.Load())
			}
		})
	}
}

// The flow above would notice a moment without rules.
func TestFlowNoticesMissingRules(t *testing.T) {
	needRoot(t, "network namespaces")
	t.Parallel()
	p := inhabited(t, false)
	expect(t, redirect(t, p, "--preset", "istio"), 0)
	f := startFlow(p)
	expect(t, redirect(t, p, "--remove"), 0)
	await(t, "a connection that escapes", func() (escaped bool) {
		f.wrong.Range(func(any, any) bool {
			escaped = true
			return false
		})
		return escaped
	})
	close(f.stop)
	f.wait.Wait()
}
