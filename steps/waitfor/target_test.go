package waitfor

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

func TestTargetsAreShownWithTheirEffect(t *testing.T) {
	for _, c := range []struct{ text, shown, effect string }{
		{"tcp://db:5432", "tcp://db:5432", "dial tcp://db:5432"},
		{"tls://[::1]:443", "tls://[::1]:443", "dial tcp://[::1]:443"},
		{"unix:///run/db.sock", "unix:///run/db.sock", "dial unix:///run/db.sock"},
		{"file:///shared/ready", "file:///shared/ready", "read /shared/ready"},
		{"file:///a%20b", "file:///a%20b", "read /a b"},
		{"dns://peers?min=3&type=srv", "dns://peers?min=3&type=srv", "dial dns://peers"},
		{"http://web", "http://web", "dial tcp://web:80"},
		{"https://web/x?token=secret", "https://web/x?…", "dial tcp://web:443"},
		{"grpc://svc:50051/orders.Orders", "grpc://svc:50051/orders.Orders", "dial tcp://svc:50051"},
		{"postgres://app@db/orders?sslmode=require", "postgres://app@db/orders?sslmode=require", "dial tcp://db:5432"},
		{"mariadb://db", "mariadb://db", "dial tcp://db:3306"},
		{"rediss://cache/2", "rediss://cache/2", "dial tcp://cache:6379"},
		{"k8s://shop/job/migrate?condition=Complete", "k8s://shop/job/migrate?condition=Complete", "dial store:$KUBERNETES_SERVICE_HOST"},
	} {
		target, err := parseTarget(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got := [2]string{target.String(), target.effect().String()}
		if want := [2]string{c.shown, c.effect}; got != want {
			t.Errorf("%s: got %q, want %q", c.text, got, want)
		}
	}
}

func TestMalformedTargetsAreUsageFaultsThatKeepPasswords(t *testing.T) {
	for text, reason := range map[string]string{
		"":                                       "scheme is not known",
		"db:5432":                                "scheme is not known",
		"ftp://db:21":                            "scheme is not known",
		"tcp://db":                               "names no port",
		"tcp://:5432":                            "not of the form tcp://host:port",
		"tcp://db:0":                             "not of the form",
		"tcp://db:70000":                         "not of the form",
		"tcp://db:":                              "not of the form",
		"tcp://db:5432/x":                        "not of the form",
		"tcp://db:5432?x=1":                      "takes no query",
		"tcp:db:5432":                            "not of the form",
		"tcp://me@db:5432":                       "takes no user",
		"grpc://svc":                             "names no port",
		"file://relative":                        "not of the form file:///path",
		"file:///":                               "not of the form file:///path",
		"file:///a?b":                            "takes no query",
		"dns://name:53":                          "not of the form dns://name",
		"dns://name?min=0":                       `"0" is no value for "min"`,
		"dns://name?max=3":                       `takes no "max"`,
		"http://web/#part":                       "not of the form",
		"https://me@web/":                        "takes no user",
		"k8s://shop/job":                         "not of the form k8s://namespace/kind/name",
		"k8s://shop/job/a/b":                     "not of the form",
		"k8s://shop/job/..":                      "not of the form",
		"k8s://shop/job/a%2fb":                   "not of the form",
		"k8s:///job/migrate":                     "not of the form",
		"k8s://shop:443/job/migrate":             "not of the form",
		"k8s://Shop/job/migrate":                 "not of the form",
		"k8s://shop/widget/a":                    `the kind "widget" is not known`,
		"k8s://shop/node/a":                      `the kind "node" is not known`,
		"k8s://shop/job/a?min=2":                 `takes "min" for a Service alone`,
		"k8s://shop/service/a?min=0":             `"0" is no value for "min"`,
		"k8s://shop/svc/a":                       `the kind "svc" is not known`,
		"k8s://shop/service/a?condition=Ready":   "a Service has no condition",
		"k8s://shop/pod/a?condition=Ready=maybe": `"Ready=maybe" is no value for "condition"`,
		"k8s://shop/pod/a?ready=true":            `takes no "ready"`,
		"k8s://me@shop/pod/a":                    "takes no user",
		"k8s://shop/pod/a#x":                     "not of the form",
		"postgres://db/x?sslmode=maybe":          `"maybe" is no value for "sslmode"`,
		"postgres://a:hunter2@db/x":              "holds a password",
		"postgres://a:hunter2@db:x/x":            "not a URL",
		"http://a:hunter2@web/?q=hunter2":        "holds a password",
		"http://web\x7f/?q=hunter2":              "not a URL",
	} {
		_, err := parseTarget(text)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Describe(err), reason) {
			t.Errorf("%s: got %v, want a usage fault with %q", text, err, reason)
		}
		if err != nil && strings.Contains(fault.Describe(err), "hunter2") {
			t.Errorf("%s: the fault tells the password: %v", text, err)
		}
	}
}

func TestOptionsAreCheckedTogether(t *testing.T) {
	for _, c := range []struct {
		options steptest.Options
		want    []string
	}{
		{nil, []string{"no target"}},
		{steptest.Options{"target=tcp://a:1", "target=nope", "target=tcp://b"}, []string{`"nope"`, "tcp://b"}},
		{steptest.Options{"target=tcp://a:1", "status=200", "json-path=a=b"}, []string{"--status has no effect", "--json-path has no effect"}},
		{steptest.Options{"target=redis://a", "ca-file=/ca"}, []string{"--ca-file has no effect"}},
		{steptest.Options{"target=https://a", "cert-file=/c"}, []string{"--cert-file and --key-file go together"}},
		{steptest.Options{"target=https://a", "ca-file=/c", "insecure-skip-tls-verify=true"}, []string{"trust anybody"}},
		{steptest.Options{"target=tcp://a:1", "stable=0", "look-timeout=0s", "interval=-1s"}, []string{"--stable 0", "--look-timeout 0s", "--interval -1s"}},
		{slices.Repeat(steptest.Options{"target=tcp://a:1"}, 501), []string{"501 targets are dialled: at most 500"}},
		{steptest.Options{"target=dns://a", "min-addresses=0"}, []string{"--min-addresses 0"}},
		{steptest.Options{"target=tls://a:1", "min-validity=-1h"}, []string{"--min-validity -1h"}},
		{steptest.Options{"target=http://a", "method=G T"}, []string{`--method "G T"`}},
		{
			steptest.Options{"target=http://a", "header=hunter2", "header=A: b\x00hunter2", "header-from=A=hunter2"},
			[]string{"--header number 1", "--header number 2", "--header-from number 1"},
		},
	} {
		err := steptest.Fault(t, Kind, c.options)
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: got %s, want usage", c.options, fault.KindOf(err))
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: got %q, want %q in it", c.options, err, want)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: the fault tells a secret: %v", c.options, err)
		}
		joined, several := err.(interface{ Unwrap() []error })
		if several && len(joined.Unwrap()) > len(c.want) {
			t.Errorf("%v: got %v, want no more than %d faults", c.options, err, len(c.want))
		}
	}
}

func TestEffectsNameTheFilesOfTheOptions(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{
		"target=https://web", "target=mysql://db:3307/x", "ca-file=/tls/ca.pem", "cert-file=/tls/c.pem", "key-file=/tls/k.pem",
		"header-from=Authorization=Bearer file:/secrets/token", "password-from=file:/secrets/password",
	})
	var got []string
	for _, effect := range task.Effects {
		got = append(got, effect.String())
	}
	want := []string{
		"dial tcp://web:443", "dial tcp://db:3307", "read /tls/ca.pem", "read /tls/c.pem", "read /tls/k.pem",
		"read /secrets/token", "read /secrets/password",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestObjectsInTheClusterShareTheirEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"target=k8s://shop/job/a", "target=tcp://db:1", "target=k8s://shop/pod/b"})
	var got []string
	for _, effect := range task.Effects {
		got = append(got, effect.String())
	}
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	want := []string{"dial tcp://db:1", "read " + account + "token", "read " + account + "ca.crt", "dial store:$KUBERNETES_SERVICE_HOST"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStatusSets(t *testing.T) {
	for text, want := range map[string]string{"200": "200", "200-299,304": "200-299,304", "100-599": "100-599", "204-204": "204", "200, 404": "200,404"} {
		var s statusSet
		if err := s.Set(text); err != nil || s.String() != want {
			t.Errorf("%q: got %q, %v, want %q", text, s.String(), err, want)
		}
	}
	for _, text := range []string{"", "2xx", "99", "600", "299-200", "200-", "-200", "200,", "+20", "200-299-300"} {
		if err := new(statusSet).Set(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
	s := statusSet{{200, 299}, {304, 304}}
	for code, want := range map[int]bool{199: false, 200: true, 299: true, 300: false, 304: true, 305: false} {
		if got := s.has(code); got != want {
			t.Errorf("%d: got %v, want %v", code, got, want)
		}
	}
}

func TestJSONPaths(t *testing.T) {
	document := `{"status":"green","nodes":3,"ok":true,"gone":null,"a.b":{"c d":1.50},"items":[{"state":"up"},{"state":"down"}],"big":1e400}`
	for _, path := range []string{
		"status", "status=green", "$.status=green", ".status=green", "$['status']=green", `["status"]=green`,
		"nodes=3", "nodes=3.0", "ok=true", "gone=null", "['a.b']['c d']=1.5", "$.items[0].state=up", "items[-1].state=down", "items", "big=1e400",
	} {
		var p jsonPath
		if err := p.Set(path); err != nil {
			t.Errorf("%s: %v", path, err)
		} else if err := p.check([]byte(document)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, want := range map[string]string{
		"status=red":        `the body has "green" at status, not "red"`,
		"nodes=4":           `the body has 3 at nodes, not "4"`,
		"ok=false":          `the body has true at ok, not "false"`,
		"gone":              "the body has null at gone",
		"missing":           "the body has nothing at missing",
		"items[2]":          "the body has nothing at items[2]",
		"items[-3]":         "the body has nothing at items[-3]",
		"items.state":       "the body has nothing at items.state",
		"status.x":          "the body has nothing at status.x",
		"items=x":           `the body has an array at items, not "x"`,
		"$=x":               `the body has an object at $, not "x"`,
		"big=1e4000000000":  `the body has 1e400 at big, not "1e4000000000"`,
		"$.items[0].state=": `the body has "up" at $.items[0].state, not ""`,
	} {
		var p jsonPath
		if err := p.Set(path); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		err := p.check([]byte(document))
		if _, certain := errors.AsType[goneError](err); !certain || err.Error() != want {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	for _, path := range []string{"", "$", "=x", ".", "a..b", "a[", "a[x]", "a['b", "a]b", "a[0]b", "a[99999999999]"} {
		if err := new(jsonPath).Set(path); err == nil {
			t.Errorf("%q: want an error", path)
		}
	}
	p := jsonPath{}
	if err := p.Set("a=b"); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "<html>", `{"a":"b"} x`, `{"a":`} {
		if err := p.check([]byte(body)); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%q: got %v, want unavailable", body, err)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"tcp://db:5432", "postgres://a:b@db/x?sslmode=require", "dns://n?min=3", "file:///x", "http://[::1%25eth0]/", "://", "unix:/x", "k8s://a/pods.v1/b?condition=Ready=False"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := parseTarget(text)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("got %v, want a usage fault", err)
			}
			return
		}
		if target.effect().Object == "" || target.String() == "" {
			t.Errorf("%q: no effect or name", text)
		}
		if _, err := parseTarget(target.URL.String()); err != nil {
			t.Errorf("%q: parsed, printed and refused: %v", text, err)
		}
	})
}

func FuzzStatusSet(f *testing.F) {
	f.Add("200-299,304")
	f.Fuzz(func(t *testing.T, text string) {
		var s, again statusSet
		if s.Set(text) != nil {
			return
		}
		if err := again.Set(s.String()); err != nil || again.String() != s.String() {
			t.Errorf("%q: got %q again, %v", s.String(), again.String(), err)
		}
	})
}

func FuzzJSONPath(f *testing.F) {
	f.Add("$.items[0]['a b']=up", `{"items":[{"a b":"up"}]}`)
	f.Add("a=1e5", `{"a":100000}`)
	f.Fuzz(func(t *testing.T, path, document string) {
		var p jsonPath
		if p.Set(path) == nil {
			_ = p.check([]byte(document))
		}
	})
}
