package apparmor

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Parser is the program that compiles profiles.
const Parser = "apparmor_parser"

// Compiler has profiles compiled.
type Compiler struct {
	Env *step.Env
	// Features is the file that says what the kernel is to enforce; "" is what the running kernel says of itself.
	Features string
}

// Compile returns the compiled policy of the text in a file, and what the parser warns of: above all rules that the features
// do not know, which it leaves out, and which nothing enforces. A fault in the text is Data, with its line.
func (c *Compiler) Compile(ctx context.Context, file string) (content []byte, warnings []string, err error) {
	parser, err := exec.LookPath(Parser)
	if err != nil {
		return nil, nil, fault.Hint(fault.New(fault.Unsupported, "%s is text, and there is no %s to compile it", file, Parser),
			"compile it beforehand: slipway apparmor-compile; or take the image that has the parser")
	}
	args := []string{"--skip-kernel-load", "--skip-cache", "--stdout", "--warn=rule-not-enforced", "--warn=rule-downgraded"}
	if c.Features != "" {
		args = append(args, "--kernel-features="+c.Env.Path(c.Features), "--policy-features="+c.Env.Path(c.Features))
	}
	cmd := exec.Command(parser, append(args, c.Env.Path(file))...)
	var out, told bounded
	out.most, told.most = MaxPolicy, 64<<10
	cmd.Stdout, cmd.Stderr = &out, &told
	cmd.Env = c.Env.Environ()
	err = c.Env.Exec(ctx, cmd)
	said := lines(told.String())
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return nil, nil, fault.New(fault.Data, "compile %s: %s", file, first(said, "error", "failed"))
	}
	if err != nil {
		return nil, nil, err
	}
	if !Compiled(out.Bytes()) {
		return nil, nil, fault.New(fault.Data, "compile %s: the parser made no policy of it: %s", file, first(said))
	}
	return out.Bytes(), said, nil
}

// lines returns the lines of what a program said, without empty ones and those that say the same again.
func lines(text string) []string {
	var all []string
	seen := make(map[string]bool)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !seen[line] {
			seen[line] = true
			all = append(all, line)
		}
	}
	return all
}

// first returns the first line that has one of some words in it, the first of all without one, or that nothing was said.
func first(said []string, words ...string) string {
	for _, line := range said {
		for _, word := range words {
			if strings.Contains(strings.ToLower(line), word) {
				return line
			}
		}
	}
	if len(said) == 0 {
		return "it does not say why"
	}
	return said[0]
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	most int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.most-b.Len())])
	return len(p), nil
}
