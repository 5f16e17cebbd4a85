// Command gogit clones as a program that uses go-git plainly does: gogit URL DIR. The benchmark measures slipway beside it.
package main

import (
	"fmt"
	"os"

	"github.com/go-git/go-git/v5"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gogit URL DIR")
		os.Exit(2)
	}
	_, err := git.PlainClone(os.Args[2], false, &git.CloneOptions{URL: os.Args[1], Depth: 1, SingleBranch: true, Tags: git.NoTags})
	if err != nil {
		fmt.Fprintln(os.Stderr, "gogit:", err)
		os.Exit(1)
	}
}
