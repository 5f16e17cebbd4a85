//go:debug x509negativeserial=1

// Vault 1.13.0, the last release under the MPL-2.0 that its published sdk compiles with: server, agent and
// command line in one, unpatched, by a main over its own command package.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
