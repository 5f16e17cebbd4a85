// Package apparmor loads AppArmor policy into the kernel: reads what a compiled policy holds (policy.go), compares it with
// what the kernel has and writes it there (kernel.go), and has text compiled by apparmor_parser (compile.go).
//
// Loading takes the capability MAC_ADMIN, and the user or the group 0, because the files of securityfs are root's. See
// apparmor(7) and https://gitlab.com/apparmor/apparmor/-/wikis/AppArmorInterfaces.
package apparmor

// Mode is what the kernel does with what a profile does not allow.
type Mode string

// The modes, as the kernel names them.
const (
	Enforce    Mode = "enforce"    // it is refused
	Complain   Mode = "complain"   // it is written to the log
	Kill       Mode = "kill"       // the process is killed
	Unconfined Mode = "unconfined" // it is allowed
	User       Mode = "user"       // a process of the user's is asked
)
