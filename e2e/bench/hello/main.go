// Command hello is the least that a static Go program can do: what slipway's start-up and size are held against.
package main

import "os"

func main() { _, _ = os.Stdout.WriteString("hello, world\n") }
