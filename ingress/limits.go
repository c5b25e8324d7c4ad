package ingress

import "time"

const (
	// maxHeader bounds in bytes the headers of a request. What is kept of them
	// travels in the message too, escaped, and the broker takes 1 MiB in all.
	maxHeader = 32 << 10

	// headerTimeout is how long a client may take for its headers: they come in
	// one piece from a sender, and drop by drop from an attacker.
	headerTimeout = 5 * time.Second

	// bodyTimeout is how long a body may take; a source whose budget is shorter
	// gives it less.
	bodyTimeout = 10 * time.Second

	// writeTimeout is how long a request may take with its answer. It only frees
	// a connection whose client does not read: budgets are shorter.
	writeTimeout = 30 * time.Second

	// idleTimeout is how long a connection is kept for the sender's next request.
	idleTimeout = 2 * time.Minute

	// drainTimeout is how long a stopping server waits for the requests in hand.
	// It is above the longest budget in the catalogue, within which each ends.
	drainTimeout = 15 * time.Second

	// attemptTimeout is how long one publish may wait for its confirmation. A
	// leader that died never answers; the next attempt asks its successor.
	attemptTimeout = 2 * time.Second

	// pauseMin and pauseMax are the first and the longest pause between two
	// attempts, give or take a half. While a stream has no leader everything for it
	// waits here, thousands of requests at times: together they must leave the
	// broker room for the others.
	pauseMin = 50 * time.Millisecond
	pauseMax = 400 * time.Millisecond

	// retryLater is what a sender is asked to wait when the store did not confirm,
	// in seconds: about an election.
	retryLater = "10"

	// retryMuchLater is what it is asked to wait when the store is full, in
	// seconds: somebody must make room.
	retryMuchLater = "60"

	// retrySoon is what a sender is asked to wait when there is no room for its
	// request, in seconds: about the budget of what is in hand.
	retrySoon = "5"

	// maxRetryAfter bounds what a sender over its rate is asked to wait, in
	// seconds: a source may be limited to a few webhooks an hour, and senders give
	// up.
	maxRetryAfter = 3600

	// defaultMaxBytes bounds in bytes what the requests in hand take where the
	// process has no memory limit.
	defaultMaxBytes = 256 << 20

	// minMaxBytes is the least such bound: two bodies of the usual limit.
	minMaxBytes = 4 << 20

	// defaultMaxRequests bounds the requests in hand. At one full disk flush a
	// moment even a slow store finishes as many within the shortest budget.
	defaultMaxRequests = 4096

	// requestBytes is what a request takes beside its body: headers, buffers of
	// the connection, stacks, the line in the log.
	requestBytes = 16 << 10

	// smallBody is the body, in bytes, that is taken room for at once. Nearly all
	// are smaller.
	smallBody = 64 << 10

	// firstRead is the first buffer for a body whose length is not known.
	firstRead = 8 << 10

	// unreadyAfter is how long nothing can be stored before the server is unready:
	// above the longest election of the broker, 9 s, which senders ride out here.
	// Were it below, all servers would be taken out of service at once.
	unreadyAfter = 10 * time.Second

	// anotherChance is how long after the last failure the server is ready again,
	// to see whether the store is.
	anotherChance = 15 * time.Second

	// lookEvery bounds how often the files of the TLS certificate are looked at.
	lookEvery = time.Second

	// diagnosesOfSource and diagnosesInAll bound how many refused requests a second
	// are looked into. Each costs milliseconds, and one tells as much as a thousand.
	diagnosesOfSource = 2
	diagnosesInAll    = 10

	// diagnosisWork bounds in bytes what is hashed for one of them.
	diagnosisWork = 2 << 20
)
