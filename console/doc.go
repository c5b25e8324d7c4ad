// Package console is the operator's side of Belay: what came in, where each chain
// stands in it, what was given up; and the changes that operators make. It is a
// REST API; jobs over many events are driven here, and survive a restart.
//
//	api.go       the paths, and who may call them
//	letters.go   the dead letters: list, show
//	redrive.go   redrive and discard one, in writes that may be cut anywhere
//	jobs.go      jobs: redrive many, discard many, replay; kept in the bucket STATE
//	driver.go    drives the jobs: one console at a time each
//	replay.go    a chain handles stored events again
//	events.go    one event: where it stands in each chain
//	erase.go     its content is removed, everywhere
//	chains.go    the chains, and their backlog
//	sources.go   the sources; one is switched off or on
//	measure.go   the backlogs as metrics
package console
