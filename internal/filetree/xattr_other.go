//go:build !linux

package filetree

import "github.com/slipway-init/slipway/internal/fault"

// SetXattr is Linux's.
func (e *Entry) SetXattr(string, []byte, func([]byte) bool) (bool, error) {
	return false, fault.New(fault.Unsupported, "extended attributes are set on Linux alone")
}
