package receiver

import (
	"fmt"
	"net/http"
)

// Answer is the HTTP answer that a provider wants.
type Answer struct {
	// Status is the HTTP status, 2xx.
	Status int
	// ContentType is the media type of Body; empty where there is no body.
	ContentType string
	// Body is empty for most providers.
	Body []byte
}

// An answer is a compiled [AnswerForm].
type answer struct {
	status      int
	contentType string
	body        template
}

func (a answer) fill(q *request) Answer {
	if len(a.body) == 0 {
		return Answer{Status: a.status}
	}
	return Answer{Status: a.status, ContentType: a.contentType, Body: []byte(a.body.text(q))}
}

// An unstored is a compiled [Unstored].
type unstored struct {
	when   []condition
	answer answer
}

type condition struct {
	template template
	want     string
}

func (u unstored) matches(q *request) bool {
	for _, c := range u.when {
		if c.template.text(q) != c.want {
			return false
		}
	}
	return true
}

func (c *compiler) answer(field string, f AnswerForm) (answer, error) {
	a := answer{status: f.Status, contentType: f.ContentType}
	if a.status == 0 {
		a.status = http.StatusAccepted
	}
	if a.contentType == "" {
		a.contentType = "text/plain; charset=utf-8"
	}
	var err error
	a.body, err = c.template(field+".body", f.Body)
	return a, err
}

func (c *compiler) unstored(forms []Unstored) ([]unstored, error) {
	var all []unstored
	for i, f := range forms {
		field := fmt.Sprintf("unstored[%d]", i)
		a, err := c.answer(field+".answer", f.Answer)
		if err != nil {
			return nil, err
		}
		u := unstored{answer: a}
		for text, want := range f.When {
			t, err := c.template(field+".when", text)
			if err != nil {
				return nil, err
			}
			u.when = append(u.when, condition{t, want})
		}
		all = append(all, u)
	}
	return all, nil
}
