package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// Fault is one thing that is wrong with a plan.
type Fault struct {
	Pos     Pos
	Message string
	Hint    string // what to write instead, or empty
}

// Faults are all that is wrong with a plan, in the order in which the user wrote it. As an error they are of kind
// Usage.
type Faults []Fault

// Error lists the faults, one a line, hints included: they belong to their lines.
func (f Faults) Error() string {
	var b strings.Builder
	switch {
	case len(f) == maxFaults:
		fmt.Fprintf(&b, "%d faults or more in the plan, nothing was run:\n", len(f))
	case len(f) > 1:
		fmt.Fprintf(&b, "%d faults in the plan, nothing was run:\n", len(f))
	}
	for i, one := range f {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s", one.Pos, one.Message)
		if one.Hint != "" {
			fmt.Fprintf(&b, "\n  hint: %s", one.Hint)
		}
	}
	return b.String()
}

// maxFaults bounds how many faults are told: who has more reads no further.
const maxFaults = 50

// add appends a fault.
func (f *Faults) add(pos Pos, format string, args ...any) *Fault {
	if len(*f) == maxFaults {
		return &Fault{}
	}
	*f = append(*f, Fault{Pos: pos, Message: fmt.Sprintf(format, args...)})
	return &(*f)[len(*f)-1]
}

// addError appends each error of a joined tree as a fault of its own.
func (f *Faults) addError(pos Pos, prefix string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			f.addError(pos, prefix, one)
		}
		return
	}
	f.add(pos, "%s: %v", prefix, err).Hint = fault.HintOf(err)
}

// err returns the faults as an error of kind Usage, nil if there are none.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	sorted := slices.Clone(f)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		if a.Pos.Column != b.Pos.Column {
			return a.Pos.Column - b.Pos.Column
		}
		return a.Pos.Arg - b.Pos.Arg
	})
	return fault.As(fault.Usage, sorted)
}

// didYouMean returns a hint that names the candidate nearest to word, or "" when none is near.
func didYouMean(word string, candidates []string) string {
	best, distance := "", len(word)/2+1
	if distance > 3 {
		distance = 3
	}
	for _, candidate := range candidates {
		if d := editDistance(word, candidate); d < distance || (d == distance && best == "" && d < len(candidate)/2) {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s?", best)
}

// editDistance is the number of insertions, deletions, replacements and swaps of neighbours between a and b (optimal
// string alignment).
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
