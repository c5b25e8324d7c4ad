package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// inPrefix begins the subject of every event that came in.
const inPrefix = "belay.in."

// maxTypeBytes bounds the part of a subject that the event's name takes.
const maxTypeBytes = 256

// Subject is where the event is stored:
//
//	belay.in.<partition>.<receiver>.<source>.<tokens of the name>
//
// A dot of the name separates tokens; other bytes outside A-Za-z0-9_- become
// %XX, an empty token is %, and a name that takes over 256 bytes is
// %sha256.<hash>.%sha256.
func (e *Event) Subject() string {
	return inPrefix + strconv.Itoa(e.Partition()) + "." +
		token(e.Receiver) + "." + token(e.SourceID) + "." + nameTokens(e.Name())
}

func token(s string) string {
	if s == "" {
		return "%"
	}
	return escapeToken(s)
}

func nameTokens(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = token(p)
	}
	tokens := strings.Join(parts, ".")
	if len(tokens) <= maxTypeBytes {
		return tokens
	}
	sum := sha256.Sum256([]byte(name))
	return longName + "." + hex.EncodeToString(sum[:]) + "." + longName
}

// longName stands around the hash of a long name. No escape yields "%s", so a
// hashed name meets no other name; with one at each end its filter overlaps few
// other filters.
const longName = "%sha256"

// Token is a text as one token of a subject: a dot, and every other byte outside
// A-Z, a-z, 0-9, - and _, becomes %XX.
func Token(s string) string { return escapeToken(s) }
