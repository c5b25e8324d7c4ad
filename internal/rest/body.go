package rest

import (
	"encoding/base64"
	"unicode/utf8"
)

// Body is the JSON form of a stored body: as text where it is one.
type Body struct {
	// Text of the body; nil where that is no text, or is not there.
	Text *string `json:"body,omitempty"`
	// Base64 of a body that is no text.
	Base64 string `json:"body_base64,omitempty"`
	// Truncated says that only the beginning of the body is shown.
	Truncated bool `json:"body_truncated,omitempty"`
}

// MaxShown is how much of a body is shown, in bytes.
const MaxShown = 1 << 20

// SetBody shows a body.
func (v *Body) SetBody(body []byte) {
	if len(body) > MaxShown {
		body, v.Truncated = body[:MaxShown], true
		// A letter that is cut in two does not make the text none.
		for n := 1; n < utf8.UTFMax; n++ {
			if start := len(body) - n; utf8.RuneStart(body[start]) {
				if !utf8.FullRune(body[start:]) {
					body = body[:start]
				}
				break
			}
		}
	}
	if utf8.Valid(body) {
		text := string(body)
		v.Text = &text
		return
	}
	v.Base64 = base64.StdEncoding.EncodeToString(body)
}
