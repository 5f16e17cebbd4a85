package main

import (
	"fmt"
	"strings"
)

// failure waits for what never comes.
var failure = scene{
	title: "A failure: nobody opens the port, and the pod's status says so in one line",
	args: func(*stage) ([]string, error) {
		address, err := freeAddress()
		return []string{"wait-for", "tcp://" + address, "--timeout", "1s", "then", "mkdir", "never"}, err
	},
	exit: 69,
	show: func(s *stage, r result) error {
		s.say("\n%s", s.bold("The termination message, as kubectl describe shows it"))
		s.quote(r.report)
		for _, want := range []string{"timed out after 1s", "connection refused", "hint: ", "exit=69"} {
			if !strings.Contains(r.report, want) {
				return fmt.Errorf("the termination message does not say %q", want)
			}
		}
		s.say("69 is worth another try: a Job's podFailurePolicy can act on it (examples/job-retries).")
		return nil
	},
}
