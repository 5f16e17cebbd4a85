//go:build amd64 || arm64

package crc64nvme

import "unsafe"

// fold is update for whole blocks, at least one, that begin where alignment says.
//
//go:noescape
func fold(crc uint64, p []byte) (checksum uint64)

// unaligned returns how many bytes of p stand before the next aligned one.
func unaligned(p []byte) int {
	return int(-uintptr(unsafe.Pointer(unsafe.SliceData(p))) % alignment)
}
