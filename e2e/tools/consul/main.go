// Command consul is the agent of HashiCorp Consul 1.15.4, under the MPL-2.0, without the rest of its command line: the
// tests need a server, not a client. It is the newest release under that licence whose modules the checksum database of the
// module proxy knows. Consul is run as a process of its own; no part of it is in slipway.
package main

import (
	"os"

	mcli "github.com/mitchellh/cli"

	"github.com/hashicorp/consul/command/agent"
	"github.com/hashicorp/consul/command/cli"
)

func main() {
	ui := &cli.BasicUI{BasicUi: mcli.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}}
	os.Exit(agent.New(ui).Run(os.Args[1:]))
}
