package event

import (
	"errors"
	"strings"
)

// A class is a set of bytes that an escape leaves as they are.
type class [256]bool

func newClass(keep func(c byte) bool) *class {
	var set class
	for i := range set {
		set[i] = keep(byte(i))
	}
	return &set
}

var (
	// attributeBytes stay as they are in a CloudEvents attribute.
	attributeBytes = newClass(func(c byte) bool {
		return c > ' ' && c <= '~' && c != '"' && c != '%'
	})
	// textBytes stay as they are inside other header values.
	textBytes = newClass(func(c byte) bool {
		return c >= ' ' && c <= '~' && c != '%'
	})
	// tokenBytes stay as they are in a token of a subject.
	tokenBytes = newClass(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	})
)

func escapeValue(s string) string { return escape(s, attributeBytes) }

func escapeToken(s string) string { return escape(s, tokenBytes) }

// escapeText is escapeValue for values that hold spaces by nature. A space at
// either end is escaped: a header's ends are trimmed on the way.
func escapeText(s string) string {
	trimmed := strings.Trim(s, " ")
	if len(trimmed) == len(s) {
		return escape(s, textBytes)
	}
	if trimmed == "" {
		return strings.Repeat("%20", len(s))
	}
	left := strings.Index(s, trimmed)
	right := len(s) - left - len(trimmed)
	return strings.Repeat("%20", left) + escape(trimmed, textBytes) + strings.Repeat("%20", right)
}

// escape replaces each byte of s that is not in keep by %XX.
func escape(s string, keep *class) string {
	n := 0
	for i := range len(s) {
		if !keep[s[i]] {
			n++
		}
	}
	if n == 0 {
		return s
	}
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 2*n)
	for i := range len(s) {
		if c := s[i]; keep[c] {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

var errEscape = errors.New("a % is not followed by two hexadecimal digits")

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errEscape
		}
		hi, lo := digit(s[i+1]), digit(s[i+2])
		if hi > 15 || lo > 15 {
			return "", errEscape
		}
		b.WriteByte(hi<<4 | lo)
		i += 2
	}
	return b.String(), nil
}

// digit is the value of a hexadecimal digit; above 15 for any other byte.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}
