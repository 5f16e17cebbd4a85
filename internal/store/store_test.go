package store_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/store"
)

func TestPairsAreSortedAndWithoutFolders(t *testing.T) {
	got := store.Pairs("app", map[string]string{"app/z": "1", "app/a/b": "2", "app/": "", "app/a/": ""})
	want := []store.Pair{{Path: "app/a/b", Key: "a/b", Value: "2"}, {Path: "app/z", Key: "z", Value: "1"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
}

func TestMissingNamesNeighbours(t *testing.T) {
	many := strings.Split("l,k,j,i,h,g,f,e,d,c,b,a,a", ",")
	for _, test := range []struct {
		names []string
		want  string
	}{
		{nil, "Consul has no key x"},
		{[]string{"y"}, "Consul has no key x; beside it is y"},
		{many, "Consul has no key x; beside it are a, b, c, d, e, f, g, h, i, j and 2 more"},
	} {
		err := store.Missing("Consul", "key", "x", test.names)
		if err.Error() != test.want || fault.KindOf(err) != fault.NoInput || !store.IsMissing(err) {
			t.Errorf("got %q (%v), want %q", err, fault.KindOf(err), test.want)
		}
	}
}

func TestField(t *testing.T) {
	for _, test := range []struct{ object, field, want, fault string }{
		{`{"a": "x\n"}`, "a", "x\n", ""},
		{`{"a": ""}`, "a", "", ""},
		{`{"a": 5432}`, "a", "5432", ""},
		{`{"a": {"b": [1]}}`, "a", `{"b": [1]}`, ""},
		{`{"a": null}`, "a", "", "its key a is null"},
		{`{"user": "hunter1", "pass": "hunter2"}`, "password", "", "it has no key password; beside it are pass, user"},
		{`hunter2`, "a", "", "it is no JSON object, so it has no key a"},
		{`["hunter2"]`, "a", "", "it is no JSON object, so it has no key a"},
		{`null`, "a", "", "it is no JSON object, so it has no key a"},
	} {
		got, err := store.Field(test.object, test.field)
		if got != test.want || (err == nil) != (test.fault == "") || (err != nil && (err.Error() != test.fault || fault.KindOf(err) != fault.Data)) {
			t.Errorf("%s %s: got %q, %v, want %q, %s", test.object, test.field, got, err, test.want, test.fault)
		}
	}
}

func FuzzField(f *testing.F) {
	f.Add(`{"a": "SECRET"}`, "a")
	f.Add(`["SECRET"]`, "b")
	f.Add(`{"a": SECRET`, "")
	f.Fuzz(func(t *testing.T, object, field string) {
		var fields map[string]any
		object = "{\"known\": " + object + "}"
		_, err := store.Field(object, "none"+field)
		if json.Unmarshal([]byte(object), &fields) == nil && len(fields) == 1 {
			if want := "it has no key none" + field + "; beside it is known"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
}
