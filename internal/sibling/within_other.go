//go:build !linux

package sibling

import "path/filepath"

// mountRoot reports whether something is mounted at path.
func mountRoot(path string) bool { return deviceDiffers(path, filepath.Dir(path)) }
