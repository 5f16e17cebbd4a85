//go:build !linux

package secret

import "github.com/slipway-init/slipway/internal/fault"

// NoCoreDump does nothing: it is for the containers that slipway runs in, which are Linux's.
func NoCoreDump() error { return nil }

// OnTmpfs is for Linux alone; elsewhere its error is Unsupported.
func OnTmpfs(path string) (bool, error) {
	return false, fault.New(fault.Unsupported, "whether %s is on tmpfs can be told on Linux alone", path)
}
