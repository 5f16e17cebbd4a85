//go:build !amd64 && !arm64

package crc64nvme

func canFold() bool { return false }

func fold(uint64, []byte) uint64 { panic("crc64nvme: fold is for amd64 and arm64") }

func unaligned([]byte) int { return 0 }
