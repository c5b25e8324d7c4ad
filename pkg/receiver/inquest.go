package receiver

// An inquest is a diagnosis at work.
type inquest struct {
	*Source
	Case
	q     *request
	plain []*signature // those that are verified with nothing but the request and the secrets
	left  int          // bytes that may still be hashed
}

func (s *Source) inquest(c Case) *inquest {
	i := &inquest{Source: s, Case: c, left: c.Work}
	if c.Work == 0 {
		i.left = maxWork
	}
	for _, sig := range s.signatures {
		if sig.keys == nil && sig.token == nil && sig.callback == nil && fetchesNothing(sig.algorithm) {
			i.plain = append(i.plain, sig)
		}
	}
	i.q = i.with(c.Body)
	return i
}

// with is the request with another body.
func (i *inquest) with(body []byte) *request {
	q := i.request(i.Request, body)
	if i.signsJSON {
		i.findDocument(q)
	}
	if i.clock != nil {
		if text, _, err := i.clock.read(q); err == nil {
			q.timestamp = text
		}
	}
	if i.items == nil {
		return q
	}
	for _, item := range q.document.items(*i.items) {
		one := &request{Request: q.Request, body: q.body, documents: i.document, source: i.Source, document: item}
		if !i.holdsFor(one) {
			return one
		}
	}
	return q
}

// spend reports whether there is work left for a body of this size.
func (i *inquest) spend(size int) bool {
	const each = 1 << 10 // what a hash of nothing costs, in bytes of a long one
	if i.left < size+each {
		i.left = 0
		return false
	}
	i.left -= size + each
	return true
}

// holds reports whether one of the signatures is that of the request.
func (i *inquest) holds(sig *signature, key []byte, candidates [][]byte, q *request) bool {
	if len(candidates) == 0 || len(key) == 0 || !i.spend(len(q.body)) {
		return false
	}
	_, missing := sig.content.missing(q)
	return !missing && holdAll(sig.when, q) && sig.algorithm.match(key, candidates, sig.content, q)
}

// fetchesNothing reports whether an algorithm needs nothing but the request.
func fetchesNothing(a algorithm) bool {
	switch a.(type) {
	case hmacOf, token, edwards, ecdsaP256, rsaPKCS1:
		return true
	}
	return false
}

// keys are the keys of the source for a signature.
func (i *inquest) keys(sig *signature) [][]byte {
	var all [][]byte
	for _, secret := range i.secrets {
		if key, err := sig.secretKey(secret); err == nil && sig.algorithm.check(key) == nil {
			all = append(all, key)
		}
	}
	return all
}

// holdsFor tries all signatures and secrets with another form of the request.
func (i *inquest) holdsFor(q *request) bool {
	for _, sig := range i.plain {
		candidates := sig.candidates(nil, q)
		for _, key := range i.keys(sig) {
			if i.holds(sig, key, candidates, q) {
				return true
			}
		}
	}
	return false
}
