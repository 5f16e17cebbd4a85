package httpx

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ContentRange parses the value of the header of that name, "bytes FIRST-LAST/SIZE": RFC 9110, section 14.4. A size that is not
// known, a star, is -1.
func ContentRange(text string) (first, last, size int64, ok bool) {
	rest, bytes := strings.CutPrefix(text, "bytes ")
	span, whole, slash := strings.Cut(rest, "/")
	from, to, dash := strings.Cut(span, "-")
	if !bytes || !slash || !dash {
		return 0, 0, 0, false
	}
	first, firstOK := digits(from)
	last, lastOK := digits(to)
	size, sizeOK := digits(whole)
	if whole == "*" {
		size, sizeOK = -1, true
	}
	if !firstOK || !lastOK || !sizeOK || first > last || size >= 0 && last >= size {
		return 0, 0, 0, false
	}
	return first, last, size, true
}

// digits parses a number that is nothing but digits, which ParseUint makes sure of.
func digits(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil
}

// longestRetryAfter is the longest time that a server is believed to want to be left alone.
const longestRetryAfter = time.Hour

// RetryAfter parses the value of the header of that name, in seconds or as a date: RFC 9110, section 10.2.3. No more than an
// hour is believed; 0 is nothing said, or nothing that can be read.
func RetryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(longestRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), longestRetryAfter)
	}
	return 0
}
