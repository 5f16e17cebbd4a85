package crc64nvme

// features returns register ECX of CPUID's leaf 1.
func features() (ecx uint32)

// canFold reports whether the processor has PCLMULQDQ and SSE4.1.
func canFold() bool {
	const wanted = 1<<1 | 1<<19
	return features()&wanted == wanted
}
