// Package vm tests the steps that need a kernel with AppArmor or SELinux in virtual machines: QEMU, without hardware help,
// boots kernels of Debian with an initramfs that holds slipway and a program that tries it out (package guest), and the tests read
// what that says on the serial line. Nothing of the host is changed: the kernels are unpacked from their packages, not installed.
//
//	./deps.sh vm && go test ./vm
package vm
