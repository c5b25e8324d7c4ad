package main

import (
	"errors"
	"net/http"
	"strings"
)

// headerFlags are headers as curl takes them: 'Name: value'.
type headerFlags []string

// set puts them into a request's headers.
func (f headerFlags) set(h http.Header) error {
	for _, text := range f {
		name, value, ok := strings.Cut(text, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return errors.New("a --header has no colon, want 'Name: value'") // it may hold a secret
		}
		h.Set(name, strings.TrimSpace(value))
	}
	return nil
}
