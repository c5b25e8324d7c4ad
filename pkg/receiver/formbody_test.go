package receiver

import (
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	const multi = "--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"a\":1}\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nfile\r\n--b--\r\n"
	for name, test := range map[string]struct {
		contentType, body, want string
		none                    bool
	}{
		"encoded":             {"application/x-www-form-urlencoded; charset=utf-8", "json=%7B%22a%22%3A1%7D", `{"a":1}`, false},
		"multipart":           {"multipart/form-data; boundary=b", multi, `{"a":1}`, false},
		"empty":               {"application/x-www-form-urlencoded", "", "", false},
		"broken encoding":     {"application/x-www-form-urlencoded", "json=%zz", "", true},
		"no boundary":         {"multipart/form-data", multi, "", true},
		"another boundary":    {"multipart/form-data; boundary=c", multi, "", true},
		"cut off":             {"multipart/form-data; boundary=b", multi[:60], "", true},
		"too many fields":     {"application/x-www-form-urlencoded", strings.Repeat("a=1&", maxFields), "", true},
		"too many parts":      {"multipart/form-data; boundary=b", strings.Repeat(multi[:len(multi)-7], maxFields), "", true},
		"what is not a form":  {"application/json", "json=1", "", true},
		"a form without type": {"", "json=1", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			q := (&Source{}).request(newRequest(test.contentType, nil), []byte(test.body))
			form := q.parsedForm()
			if got := form.Get("json"); got != test.want || (form == nil) != test.none {
				t.Errorf("form %v, want %q", form, test.want)
			}
		})
	}
}

// Dropbox Sign sends its JSON as a field of a multipart form.
func TestDropboxSignMultipart(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Receiver != "dropbox-sign" {
			continue
		}
		body := "--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n" + v.Body + "\r\n--b--\r\n"
		r := newRequest("multipart/form-data; boundary=b", nil)
		got, err := v.source(t).Receive(r, []byte(body), now)
		if err != nil || string(got.Answer.Body) != "Hello API Event Received" {
			t.Errorf("answered %q: %v", got.Answer.Body, err)
		}
	}
}

// No body takes long to read, and none is a form that has more than it may.
func FuzzForm(f *testing.F) {
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n"))
	f.Add("application/x-www-form-urlencoded", []byte("a=1&b=%20&&"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		q := (&Source{}).request(newRequest("text/plain", nil), body)
		q.Header.Set("Content-Type", contentType)
		form := q.parsedForm()
		if len(form) > maxFields {
			t.Errorf("%d fields", len(form))
		}
		if form == nil && sortedForm(form) != "" {
			t.Error("a form out of nothing")
		}
	})
}
