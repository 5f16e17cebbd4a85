// Command slipway-man writes slipway's man pages into a folder. It is a program of its own so that the binary that
// pods start does not carry a renderer.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"github.com/slipway-init/slipway/internal/cli"
	"github.com/slipway-init/slipway/steps"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: slipway-man FOLDER")
		os.Exit(64)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "slipway-man:", err)
		os.Exit(73)
	}
}

// write writes one page a command: slipway.1, slipway-mkdir.1.
func write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	header := &doc.GenManHeader{Title: "SLIPWAY", Section: "1", Source: "slipway", Manual: "slipway"}
	return doc.GenManTree(cli.Command(steps.All(), ""), header, folder)
}
