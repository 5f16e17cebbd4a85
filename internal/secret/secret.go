// Package secret keeps secrets where they belong: in memory, and out of what a crash leaves on a disk.
package secret
