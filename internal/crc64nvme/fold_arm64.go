package crc64nvme

import "golang.org/x/sys/cpu"

// canFold reports whether the processor has PMULL, and EOR3, which comes with SHA-3.
func canFold() bool { return cpu.ARM64.HasASIMD && cpu.ARM64.HasPMULL && cpu.ARM64.HasSHA3 }
