package receiver

import (
	"maps"
	"slices"
)

// Words lists the words that a field of [Signature], [Timestamp] or [Proof] may
// hold: algorithm, encoding, secret or unit. It is for tools that write forms.
func Words(field string) []string {
	switch field {
	case "algorithm":
		return slices.Sorted(maps.Keys(algorithms))
	case "encoding":
		return slices.Sorted(maps.Keys(encodings))
	case "secret":
		return slices.Sorted(maps.Keys(keyForms))
	case "unit":
		return slices.Sorted(maps.Keys(units))
	}
	return nil
}
