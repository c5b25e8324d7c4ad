package receiver

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	// batch is the name of an event that carries several events of several names.
	batch = "batch"
	// maxList bounds in bytes the list that stands for several values. A longer one
	// is told by its hash.
	maxList = 256
)

// A manner is what a placeholder stands for that finds several values.
type manner uint8

const (
	// onlyOne: nothing, as the sender and we might take different ones.
	onlyOne manner = iota
	// orBatch: the word batch, in the name of an event.
	orBatch
	// listed: all of them, in the id of a delivery.
	listed
)

// of is what stands for the values. Values that are the same are one.
func (m manner) of(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	list := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
	switch {
	case len(list) == 0:
		return ""
	case len(slices.Compact(slices.Clone(list))) == 1:
		return list[0]
	case m == orBatch:
		return batch
	case m == onlyOne:
		return ""
	}
	// All of them, in order: several lists in one id belong together.
	text := strings.Join(list, ",")
	if len(text) > maxList {
		return hashed(text)
	}
	return text
}

// hashed stands for a text that is too long.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// in sets what the template's placeholders stand for that find several values.
func (t template) in(m manner) template {
	for i := range t {
		t[i].several = m
	}
	return t
}

// scalars appends the texts of a value, or of all the values in an array.
func scalars(list []string, v gjson.Result) []string {
	if !v.IsArray() {
		return append(list, scalar(v))
	}
	v.ForEach(func(_, item gjson.Result) bool {
		list = scalars(list, item)
		return true
	})
	return list
}
