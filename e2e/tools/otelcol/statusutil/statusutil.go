// Package statusutil stands in for the collector's internal package of that name, which the Go module proxy does not
// serve. The OTLP receiver uses it for the bodies of HTTP error responses alone, so whatever is accepted is accepted
// by the real collector's code.
package statusutil

import (
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NewStatusFromMsgAndHTTPCode returns the gRPC status that corresponds to an HTTP status code.
func NewStatusFromMsgAndHTTPCode(message string, code int) *status.Status {
	c := codes.Unknown
	switch code {
	case http.StatusBadRequest:
		c = codes.InvalidArgument
	case http.StatusUnauthorized:
		c = codes.Unauthenticated
	case http.StatusForbidden:
		c = codes.PermissionDenied
	case http.StatusTooManyRequests:
		c = codes.ResourceExhausted
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		c = codes.Unavailable
	}
	return status.New(c, message)
}

// GetRetryInfo returns the retry advice in s, or nil.
func GetRetryInfo(s *status.Status) *errdetails.RetryInfo {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info
		}
	}
	return nil
}
