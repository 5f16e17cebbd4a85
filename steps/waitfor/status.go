package waitfor

import (
	"fmt"
	"strconv"
	"strings"
)

// success is the default set of statuses.
var success = statusSet{{200, 299}}

// statusSet is a set of HTTP statuses, "200-299,304". It implements pflag.Value.
type statusSet []statusRange

// statusRange is a range of statuses with both its ends.
type statusRange struct{ first, last int }

// String returns the set as Set takes it.
func (s *statusSet) String() string {
	var parts []string
	for _, r := range *s {
		if r.first == r.last {
			parts = append(parts, strconv.Itoa(r.first))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.first, r.last))
		}
	}
	return strings.Join(parts, ",")
}

// Set parses statuses and ranges with commas between them.
func (s *statusSet) Set(text string) error {
	var set statusSet
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		first, err1 := status(from)
		last, err2 := status(to)
		if err1 != nil || err2 != nil || first > last {
			return fmt.Errorf("%q is not a set of HTTP statuses such as 200-299,304", text)
		}
		set = append(set, statusRange{first, last})
	}
	*s = set
	return nil
}

func status(text string) (int, error) {
	if len(text) != 3 || text < "100" || text > "599" {
		return 0, strconv.ErrRange
	}
	return strconv.Atoi(text)
}

// Type returns "statuses".
func (*statusSet) Type() string { return "statuses" }

// JSONSchema implements opt.Schemer.
func (*statusSet) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"string", "integer"}, "pattern": `^[1-5][0-9]{2}(-[1-5][0-9]{2})?( *, *[1-5][0-9]{2}(-[1-5][0-9]{2})?)*$`}
}

// has reports whether the set holds status.
func (s statusSet) has(status int) bool {
	for _, r := range s {
		if r.first <= status && status <= r.last {
			return true
		}
	}
	return false
}
