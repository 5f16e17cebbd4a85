// Command bench measures slipway beside its rivals, in one run on one machine, and says of each goal whether it is met.
//
//	go -C e2e run ./bench [-quick] [-json FILE] [-dest DIR] [SECTION...]
//
// A goal that is not met is told, never a failure: time depends on the machine, and the ratios are what matters. The
// exit code is 1 when something could not be run, 2 when the command line is wrong. The method and the figures of one
// run stand in docs/performance.md.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// section is one group of figures.
type section struct {
	name  string // as the command line says it
	title string
	run   func(*bench) (outcome, error)
}

// sections returns the sections in the order in which they run.
func sections() []section {
	return []section{
		{"start", "Start-up", (*bench).start},
		{"overshoot", "How late wait-for is, for a port that opens after 1 to 3 s", (*bench).overshoot},
		{"looks", "What waiting costs the server: an HTTP server that answers 503", (*bench).looks},
		{"parallel", "Ten tasks of one second, side by side", (*bench).parallel},
		{"size", "Size, and what each dependency costs", (*bench).size},
		{"telemetry", "What a collector costs: one mkdir, traced", (*bench).telemetry},
		{"chain", "A chain of eight file steps", (*bench).chain},
		{"redirect", "The mesh redirect, for IPv4 and IPv6", (*bench).redirect},
		{"vault", "Vault: a login and its templates, beside vault agent", (*bench).vault},
		{"s3", "Fetching from S3, verified", (*bench).fetchS3},
		{"http", "Fetching over HTTP, verified", (*bench).fetchHTTP},
		{"git", "Cloning a commit, beside git and go-git", (*bench).git},
	}
}

// finding is what -json keeps of a section.
type finding struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	outcome
	Disturbance string `json:"disturbance"`     // by what else the machine did
	Error       string `json:"error,omitempty"` // why it could not be run
}

func main() {
	quick := flag.Bool("quick", false, "few rounds: shows that everything runs, the figures are rough")
	raw := flag.String("json", "", "`file` that gets every single measurement; durations are in nanoseconds")
	dest := flag.String("dest", "", "`folder` to fetch to, instead of one on the disk and one in memory")
	flag.Usage = usage
	flag.Parse()
	chosen, err := choose(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = measureAll(ctx, os.Stdout, chosen, *quick, *raw, *dest)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), "usage: bench [-quick] [-json FILE] [-dest DIR] [SECTION...]\n\nSections, all unless some are named:\n")
	for _, s := range sections() {
		fmt.Fprintf(flag.CommandLine.Output(), "  %-10s %s\n", s.name, s.title)
	}
	flag.PrintDefaults()
}

// choose returns the named sections, or all.
func choose(names []string) ([]section, error) {
	all := sections()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []section
	for _, name := range names {
		i := slices.IndexFunc(all, func(s section) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no section %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// measureAll runs the sections and prints each one as it ends. A section that cannot be run does not keep the others
// from it.
func measureAll(ctx context.Context, out io.Writer, chosen []section, quick bool, raw, dest string) error {
	machine := describe()
	fmt.Fprintln(out, machine)
	b, err := prepare(ctx, quick)
	if err != nil {
		return err
	}
	defer b.close()
	b.dest = dest
	var findings []finding
	var failed []string
	for _, s := range chosen {
		found := finding{Name: s.name, Title: s.title}
		fmt.Fprintf(out, "\n%s\n", strings.ToUpper(s.title))
		found.Disturbance = disturbance(func() { found.outcome, err = s.run(b) })
		if err != nil {
			found.Error = err.Error()
			failed = append(failed, s.name)
			fmt.Fprintln(out, "  could not be run:", err)
		} else {
			found.print(out)
			fmt.Fprintln(out, "  machine:", found.Disturbance)
		}
		findings = append(findings, found)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if raw != "" {
		if err := keep(raw, machine, findings); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("could not be run: %s", strings.Join(failed, ", "))
	}
	return nil
}

// keep writes the findings to a file, as JSON.
func keep(path, machine string, findings []finding) error {
	content, err := json.MarshalIndent(struct {
		Machine  string    `json:"machine"`
		Sections []finding `json:"sections"`
	}{machine, findings}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}
