package receiver

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
)

const (
	// maxFields bounds the fields of a form.
	maxFields   = 1000
	formEncoded = "application/x-www-form-urlencoded"
	multiparted = "multipart/form-data"
)

// parsedForm is the form that the body is; nil if it is none.
func (q *request) parsedForm() url.Values {
	if q.formParsed {
		return q.form
	}
	q.formParsed = true
	switch contentType := q.Header.Get("Content-Type"); mediaType(contentType) {
	case formEncoded:
		if bytes.Count(q.body, []byte("&")) >= maxFields {
			return nil
		}
		if form, err := url.ParseQuery(string(q.body)); err == nil {
			q.form = form
		}
	case multiparted:
		_, params, err := mime.ParseMediaType(contentType)
		if err == nil {
			q.form = readParts(q.body, params["boundary"])
		}
	}
	return q.form
}

// encodedForm is the form that the body is, if all of the body is its names and
// values: a multipart form may hold what is none.
func (q *request) encodedForm() url.Values {
	if mediaType(q.Header.Get("Content-Type")) != formEncoded {
		return nil
	}
	return q.parsedForm()
}

// readParts reads the fields of a multipart form, without its files; nil if the
// body is no such form, or has none.
func readParts(body []byte, boundary string) url.Values {
	form := url.Values{}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxFields {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) && len(form) > 0 {
			return form
		}
		if err != nil {
			return nil
		}
		if part.FileName() != "" || part.FormName() == "" {
			continue
		}
		value, err := io.ReadAll(part) // no more than the body, which is bounded
		if err != nil {
			return nil
		}
		form.Add(part.FormName(), string(value))
	}
	return nil
}
