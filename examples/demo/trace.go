package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// quiet is the log of servers whose clients break off.
var quiet = log.New(io.Discard, "", 0)

// receiver is an OpenTelemetry collector as far as the demo needs one: it keeps the spans that come by OTLP over HTTP.
type receiver struct {
	endpoint string

	mu    sync.Mutex
	spans []*span
}

// span is one span.
type span struct {
	trace, id, parent string
	name              string
	begin, end        time.Time
	failed            bool
	retries           int
}

// maxExport bounds one export, in bytes; slipway's are some kilobytes.
const maxExport = 16 << 20

// startReceiver starts the receiver.
func (s *stage) startReceiver() error {
	s.receiver = new(receiver)
	address, err := s.serveHTTP(s.receiver, nil)
	s.receiver.endpoint = "http://" + address
	return err
}

// ServeHTTP implements OTLP over HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost || request.URL.Path != "/v1/traces" {
		http.NotFound(w, request)
		return
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxExport))
	export := new(coltracepb.ExportTraceServiceRequest)
	if err == nil {
		err = proto.Unmarshal(content, export)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.keep(export)
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty body is an empty response
}

func (r *receiver) keep(export *coltracepb.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, received := range scope.GetSpans() {
				r.spans = append(r.spans, newSpan(received))
			}
		}
	}
}

// take returns the spans that came since the last call, by their beginning.
func (r *receiver) take() []*span {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := r.spans
	r.spans = nil
	slices.SortStableFunc(spans, func(a, b *span) int { return cmp.Or(a.begin.Compare(b.begin), b.end.Compare(a.end)) })
	return spans
}

func newSpan(received *tracepb.Span) *span {
	s := &span{
		trace:  hex.EncodeToString(received.GetTraceId()),
		id:     hex.EncodeToString(received.GetSpanId()),
		parent: hex.EncodeToString(received.GetParentSpanId()),
		name:   name(received),
		begin:  time.Unix(0, int64(received.GetStartTimeUnixNano())),
		end:    time.Unix(0, int64(received.GetEndTimeUnixNano())),
		failed: received.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
	}
	for _, event := range received.GetEvents() {
		if event.GetName() == "retry" {
			s.retries++
		}
	}
	return s
}

// name returns what to call a span: a task by its ID, a client by whom it asked.
func name(received *tracepb.Span) string {
	if id := attribute(received.GetAttributes(), "slipway.task.id"); id != "" {
		return id
	}
	if host := attribute(received.GetAttributes(), "server.address"); host != "" {
		return received.GetName() + " " + host + ":" + attribute(received.GetAttributes(), "server.port")
	}
	return received.GetName()
}

// attribute returns the text of an attribute, or nothing.
func attribute(attributes []*commonpb.KeyValue, key string) string {
	for _, a := range attributes {
		if a.GetKey() != key {
			continue
		}
		switch value := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			return value.StringValue
		case *commonpb.AnyValue_IntValue:
			return fmt.Sprint(value.IntValue)
		}
	}
	return ""
}

// drawTrace shows one trace as a tree, with a bar for when each span was. It is an error if the spans are not one trace
// with one root.
func (s *stage) drawTrace(spans []*span) error {
	ids := make(map[string]bool)
	for _, sp := range spans {
		ids[sp.id] = true
	}
	var roots []*span
	for _, sp := range spans {
		if !ids[sp.parent] {
			roots = append(roots, sp)
		}
		if sp.trace != spans[0].trace {
			return fmt.Errorf("there is more than one trace: %s and %s", spans[0].trace, sp.trace)
		}
	}
	if len(roots) != 1 {
		return fmt.Errorf("the trace has %d roots", len(roots))
	}
	s.say("\n%s", s.bold("The trace, "+roots[0].trace))
	var lines []line
	layOut(&lines, spans, bundle{roots[0]}, "", "")
	width := 0
	for _, l := range lines {
		width = max(width, utf8.RuneCountInString(l.label))
	}
	for _, l := range lines {
		padding := strings.Repeat(" ", width-utf8.RuneCountInString(l.label))
		s.say("  %s%s  %8s  %s  %s", l.label, padding, round(l.spans.end().Sub(l.spans.begin())), bar(roots[0], l.spans), l.spans.note())
	}
	return nil
}

// line is one line of the tree.
type line struct {
	label string
	spans bundle
}

// layOut appends the line of b and those below it.
func layOut(lines *[]line, spans []*span, b bundle, branch, indent string) {
	*lines = append(*lines, line{label: branch + b[0].name, spans: b})
	children := b.children(spans)
	for i, child := range children {
		if i == len(children)-1 {
			layOut(lines, spans, child, indent+"└─ ", indent+"   ")
		} else {
			layOut(lines, spans, child, indent+"├─ ", indent+"│  ")
		}
	}
}

// bundle is one span, or spans of the same name and parent that share a line: the many looks of a wait.
type bundle []*span

// children returns the spans below those of b, bundled by name, in the order of their beginnings.
func (b bundle) children(spans []*span) []bundle {
	var (
		children []bundle
		places   = make(map[string]int)
	)
	for _, sp := range spans {
		if !slices.ContainsFunc(b, func(parent *span) bool { return parent.id == sp.parent }) {
			continue
		}
		place, known := places[sp.name]
		if !known {
			place = len(children)
			places[sp.name] = place
			children = append(children, nil)
		}
		children[place] = append(children[place], sp)
	}
	return children
}

func (b bundle) begin() time.Time { return b[0].begin }

func (b bundle) end() time.Time {
	return slices.MaxFunc(b, func(a, b *span) int { return a.end.Compare(b.end) }).end
}

// note says what a bar does not show.
func (b bundle) note() string {
	var failed, retries int
	for _, sp := range b {
		retries += sp.retries
		if sp.failed {
			failed++
		}
	}
	var notes []string
	if len(b) > 1 {
		notes = append(notes, fmt.Sprintf("%d times", len(b)))
	}
	switch {
	case failed == len(b):
		notes = append(notes, "failed")
	case failed > 0:
		notes = append(notes, fmt.Sprintf("%d failed", failed))
	}
	if retries > 0 {
		notes = append(notes, fmt.Sprintf("%d retries", retries))
	}
	return strings.Join(notes, ", ")
}

// barWidth is how wide the root's bar is, in characters.
const barWidth = 32

// bar draws when the spans of b were, within the time of the root.
func bar(root *span, b bundle) string {
	whole := float64(root.end.Sub(root.begin))
	column := func(t time.Time) int {
		return min(max(int(float64(t.Sub(root.begin))/whole*barWidth), 0), barWidth-1)
	}
	columns := []rune(strings.Repeat("·", barWidth))
	for _, sp := range b {
		for i := column(sp.begin); i <= column(sp.end); i++ {
			columns[i] = '━'
		}
	}
	return string(columns)
}
