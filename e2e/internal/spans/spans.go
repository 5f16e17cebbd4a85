// Package spans reads the traces that a collector received and shows them as a tree, so that a test compares them as
// a whole.
package spans

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Trace is what a collector received: the spans of one run of slipway.
type Trace struct {
	Resource map[string]string
	Spans    []*Span // in the order of their starts
}

// Span is one span.
type Span struct {
	TraceID, ID, ParentID string
	Name, Kind, Status    string // Kind: "internal", "client"; Status: "unset", "ok", "error: MESSAGE"
	Attributes            map[string]string
	Events                []Event
	start                 uint64
}

// Event is one event of a span.
type Event struct {
	Name       string
	Attributes map[string]string
}

// request is an ExportTraceServiceRequest in OTLP's JSON.
type request struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes []attribute }
		ScopeSpans []struct {
			Spans []struct {
				TraceID           string
				SpanID            string
				ParentSpanID      string
				Name              string
				Kind              int
				StartTimeUnixNano string
				Attributes        []attribute
				Events            []struct {
					Name       string
					Attributes []attribute
				}
				Status struct {
					Code    int
					Message string
				}
			}
		}
	}
}

// attribute is one attribute; its value is an object with one member that names the type.
type attribute struct {
	Key   string
	Value map[string]any
}

var kinds = map[int]string{1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}

// Read reads the requests that a collector received.
func Read(t testing.TB, requests []string) Trace {
	t.Helper()
	var trace Trace
	for _, text := range requests {
		var r request
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatalf("read %.200s: %v", text, err)
		}
		for _, resource := range r.ResourceSpans {
			trace.Resource = values(resource.Resource.Attributes)
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					start, err := strconv.ParseUint(s.StartTimeUnixNano, 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					span := &Span{
						TraceID: s.TraceID, ID: s.SpanID, ParentID: s.ParentSpanID, Name: s.Name, Kind: kinds[s.Kind],
						Attributes: values(s.Attributes), start: start,
						Status: [...]string{"unset", "ok", "error: " + s.Status.Message}[s.Status.Code],
					}
					for _, e := range s.Events {
						span.Events = append(span.Events, Event{Name: e.Name, Attributes: values(e.Attributes)})
					}
					trace.Spans = append(trace.Spans, span)
				}
			}
		}
	}
	slices.SortStableFunc(trace.Spans, func(a, b *Span) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	return trace
}

func values(attributes []attribute) map[string]string {
	all := make(map[string]string)
	for _, a := range attributes {
		for _, value := range a.Value {
			all[a.Key] = fmt.Sprint(value)
		}
	}
	return all
}

// Roots returns the spans whose parent is not in the trace.
func (t Trace) Roots() []*Span {
	ids := make(map[string]bool)
	for _, s := range t.Spans {
		ids[s.ID] = true
	}
	var roots []*Span
	for _, s := range t.Spans {
		if !ids[s.ParentID] {
			roots = append(roots, s)
		}
	}
	return roots
}

// Find returns the first span of that name; the test fails when there is none.
func (t Trace) Find(test testing.TB, name string) *Span {
	test.Helper()
	for _, s := range t.Spans {
		if s.Name == name {
			return s
		}
	}
	test.Fatalf("no span %q in\n%s", name, t.Tree())
	return nil
}

// Tree shows the trace, one line for each span and event, children indented below their parents:
//
//	NAME kind status {key=value …}
//	  ! EVENT {key=value …}
//
// A value whose key begins with one of the given prefixes is shown as "…", because it differs from run to run.
func (t Trace) Tree(volatile ...string) string {
	var b strings.Builder
	for _, root := range t.Roots() {
		t.show(&b, root, "", volatile)
	}
	return b.String()
}

func (t Trace) show(b *strings.Builder, s *Span, indent string, volatile []string) {
	fmt.Fprintf(b, "%s%s %s %s %s\n", indent, s.Name, s.Kind, s.Status, show(s.Attributes, volatile))
	for _, e := range s.Events {
		fmt.Fprintf(b, "%s  ! %s %s\n", indent, e.Name, show(e.Attributes, volatile))
	}
	for _, child := range t.Spans {
		if child.ParentID == s.ID {
			t.show(b, child, indent+"  ", volatile)
		}
	}
}

func show(attributes map[string]string, volatile []string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		value := attributes[key]
		if slices.ContainsFunc(volatile, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			value = "…"
		}
		words = append(words, key+"="+value)
	}
	return "{" + strings.Join(words, " ") + "}"
}
