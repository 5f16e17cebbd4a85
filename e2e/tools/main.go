// Command tools builds programs that the end-to-end tests run, as far as the cache does not hold them, and prints their
// paths:
//
//	go -C e2e run ./tools NAME...
package main

import (
	"fmt"
	"os"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

func main() {
	for _, name := range os.Args[1:] {
		path, err := tools.Build(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "tools:", err)
			os.Exit(1)
		}
		fmt.Println(path)
	}
}
