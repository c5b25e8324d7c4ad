// Command worker runs the chains of a configuration file over the events that
// are stored on a NATS server. It is configured by the environment. A worker with
// handlers in Go is a main of one's own: see package worker.
package main

import "github.com/belay-hooks/belay/worker"

func main() { worker.Main() }
