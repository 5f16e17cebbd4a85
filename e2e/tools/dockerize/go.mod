module github.com/slipway-init/slipway/e2e/tools/dockerize

go 1.26.0

require github.com/jwilder/dockerize v0.6.1

// v0.6.1 is older than modules and names none of what it needs.
require (
	github.com/elgs/gosplitargs v0.0.0-20161028071935-a491c5eeb3c8 // indirect
	github.com/hpcloud/tail v1.0.0 // indirect
	github.com/jwilder/gojq v0.0.0-20161018055142-c550732d4a52 // indirect
	golang.org/x/net v0.61.0 // indirect
	gopkg.in/fsnotify.v1 v1.4.7 // indirect
	gopkg.in/tomb.v1 v1.0.0-20141024135613-dd632973f1e7 // indirect
)
