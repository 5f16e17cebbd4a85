// Package e2e tests the slipway binary against real servers: PostgreSQL, MariaDB, Redis, nginx, a gRPC health server, an
// OpenTelemetry Collector, Vault, two S3 servers, git's own servers, sshd and Gitea, each on loopback, started and stopped by
// the test that needs it.
//
// It is a module of its own, so that nothing of what it needs is a dependency of slipway. Servers come from Debian's
// packages (deps.sh installs what is missing) or are built from the pinned modules below tools/ into a cache outside
// the tree (see package tools), which takes a quarter of an hour once. Run it with
//
//	./deps.sh && go test ./...
//
// as root or as an ordinary user; a test that needs root says so when it is skipped. SLIPWAY_E2E_BINARY names a binary
// to test instead of the one built from this checkout, SLIPWAY_E2E_CACHE the folder of built tools. It runs on Linux.
package e2e
