package receiver

import (
	"time"
)

// Form is the file of one provider in the catalogue: everything that Belay
// knows about how this provider's webhooks are verified, named and answered.
//
// Wherever a field is called a template, it is text with placeholders:
//
//	{body}         the request's body, byte for byte
//	{timestamp}    the text of the timestamp, as it was sent
//	{method}       the request's method
//	{url}          the URL that the sender called
//	{url_port}     that URL without its port; if it has none, with that of its scheme
//	{header:Name}  a header; one that a template names may stand in a request once at most
//	{json:a.b.0}   a value of the JSON document: keys and array indices between dots
//	{form:name}    a field of a form, which the body is
//	{query:name}   a parameter of the URL's query
//	{param:name}   a parameter of the source; its value may hold placeholders too
//	{xml:a.b}      an element of the XML document: local names from the root on, between dots
//	{path}         the path of that URL, and its query
//	{headers:Name} the headers that the header Name lists, each as name:value, in the order of their
//	               names, with semicolons between; the list names itself and the timestamp's header
//	{form_sorted}  the fields of a form-encoded body: name and value of each, in the order of the names
//	{document}     the JSON text that {json:…} looks into, as it was sent
//	{plivo_url}    the URL, the query and the form as Plivo signs them
//	{body_crc32}   the CRC-32 of the body, in decimal digits; {body_sha256} its SHA-256, the 32
//	               bytes as they are; {body_base64} the body in base64
//	{json_line:name}     name and value of a member of the JSON document, each on a line
//	{canonical_request:/base}  method, path below the base, and query as Atlassian Connect
//	               signs them
//	{signature}    in an answer: what its Proof signs
//
// The key * in a path of JSON stands for every item of an array, and an element of
// XML, a field and a parameter may stand there several times. Several values that
// are not the same are the word batch in the name of an event, a list in an id (above
// 256 bytes its hash), and nothing elsewhere.
//
// A brace that no lower-case letter follows stands for itself. A placeholder
// that finds nothing, or an empty value, makes its whole template absent, unless
// a question mark ends its name: {json:a.b?}. Where several templates are allowed,
// the first that is not absent is taken; a single one may be written without the list.
type Form struct {
	// Slug is the receiver's name in configuration and URLs: the file's name.
	Slug string `yaml:"-"`
	// Name is what people call the provider.
	Name string `yaml:"name"`
	// Docs is the page of the provider that this file follows.
	Docs string `yaml:"docs"`
	// About says what a secret of this provider is, and where to find it.
	About string `yaml:"about"`
	// Setup are the steps at the provider, in which {url} stands for the URL of the
	// source. Absent: general ones.
	Setup []string `yaml:"setup"`
	// Limits are what Belay does not do of what the provider can, and what the
	// provider's scheme does not prove.
	Limits []string `yaml:"limits"`
	// Aliases are other names that configuration may use.
	Aliases []string `yaml:"aliases"`

	// Methods are the HTTP methods that the provider uses. Default: POST.
	Methods []string `yaml:"methods"`
	// ContentTypes are the media types that the provider sends, without
	// parameters; a * stands for any run of characters. None: any type is accepted.
	ContentTypes []string `yaml:"content_types"`
	// MaxBody is the greatest body in bytes. Default: 1 MiB.
	MaxBody int64 `yaml:"max_body"`
	// Timeout is how long the provider waits for an answer. Zero: not known.
	Timeout time.Duration `yaml:"timeout"`

	// Params are what a source of this receiver can set besides its secrets.
	Params map[string]Param `yaml:"params"`

	// Signatures are the alternatives that prove a request genuine. One that
	// holds is enough.
	Signatures []Signature `yaml:"signatures"`
	// Items is the path of a JSON array whose items are signed one by one: in the
	// signatures {json:…} looks into the item, and each item must have one that
	// holds. Empty: the request is signed as one.
	Items string `yaml:"items"`
	// Timestamp is the signed time of sending, for providers that have one.
	Timestamp *Timestamp `yaml:"timestamp"`

	// Document is the text that {json:…} and {xml:…} look into. Default: {body}.
	Document Templates `yaml:"document"`
	// DocumentEncoding is how the document is written: base64, or empty where it
	// stands there as it is.
	DocumentEncoding string `yaml:"document_encoding"`
	// ID is the delivery id, which must be the same in every retry. Absent: each
	// request is an event of its own.
	ID Templates `yaml:"id"`
	// Event is the provider's name of the event, such as pull_request.opened.
	Event Templates `yaml:"event"`
	// Key is what events are kept in order by, such as a customer. Absent: the id.
	Key Templates `yaml:"key"`
	// Keep lists the headers that travel with the event.
	Keep []string `yaml:"keep"`

	// Handshakes are requests that the provider does not sign: they are answered
	// before anything is verified, and nothing of them is stored.
	Handshakes []Handshake `yaml:"handshakes"`
	// Unstored are requests that are verified and answered but are no events:
	// pings and handshakes.
	Unstored []Unstored `yaml:"unstored"`
	// Answer is the success answer. Default: 202 without a body.
	Answer AnswerForm `yaml:"answer"`
	// Refused is the answer to what is not genuine, or cannot be read, where the
	// provider knows such an answer. Its status is 4xx; one that is left out, and
	// an answer that cannot be filled, leave those of the [Reason].
	Refused AnswerForm `yaml:"refused"`
}

// Param is something that a source can set besides its secrets.
type Param struct {
	// About says what it is, to the person who writes the configuration.
	About string `yaml:"about"`
	// Default is the value where the source sets none.
	Default string `yaml:"default"`
	// Allowed are the only values it can have. None: any.
	Allowed []string `yaml:"allowed"`
	// List says that it can be several values between commas, each of which is
	// right where a condition asks for {param:…} and nothing else.
	List bool `yaml:"list"`
	// Required says that every source must set it.
	Required bool `yaml:"required"`
}

// Place is where a value stands: in a header, or in one of the other places
// (one of Header, Query, Form, JSON and XML is given). With a separator it is a list
// of items, of which those with the prefix count, so that both
//
//	Stripe-Signature: t=1492774577,v1=5257a869e7,v1=6ffbb59b22
//	webhook-signature: v1,K5oZfzN95Z9U= v1a,hnO3f9T8Yt==
//
// are places. Blanks and commas around an item are not part of it. A prefix may
// stand there in either case. Without a
// separator all of it is one item.
type Place struct {
	// Header is the header's name. It may stand in a request only once.
	Header string `yaml:"header"`
	// Query is a parameter of the URL's query.
	Query string `yaml:"query"`
	// Form is a field of a form, which the body is: form-encoded or multipart.
	Form string `yaml:"form"`
	// JSON is a value of the JSON document: keys and array indices between dots.
	JSON string `yaml:"json"`
	// XML is an element of the XML document: local names between dots.
	XML string `yaml:"xml"`
	// Separator stands between the items of a list: one character, or any of several.
	// Empty: there is one item.
	Separator string `yaml:"separator"`
	// Prefix begins the item and is not part of the value: sha256= or v1=.
	Prefix string `yaml:"prefix"`
}

// Signature is one way in which a request can be proven genuine. {param:…} may
// stand in each field.
type Signature struct {
	// Scheme is the value of the source's parameter scheme with which the signature
	// counts. Empty: with any. So a provider's older scheme is there for who asks. It
	// is decided when the source is made, where When is by each request: a signature
	// of another scheme is none of the source's, takes none of its secrets and none
	// of its times, and is not signed with.
	Scheme string `yaml:"scheme"`
	// Place is where the signature stands. Of a list of items each is tried, up
	// to a bound; those that are not well-formed are passed over.
	Place `yaml:",inline"`
	// Encoding is how the signature is written: hex (in either case), base64 or
	// base64url (both with or without padding), text (a token as it is), or
	// salesforce-id (15 characters, and three more that do not count).
	Encoding string `yaml:"encoding"`
	// Algorithm is one of
	//
	//	hmac-md5 hmac-sha1 hmac-sha256 hmac-sha384 hmac-sha512
	//	ed25519       (RFC 8032)
	//	ecdsa-sha256  on the curve P-256, the signature in ASN.1 (X9.62)
	//	rsa-sha1 rsa-sha256  PKCS #1 v1.5 (RFC 8017)
	//	token         nothing is signed: the secret itself is sent. With the
	//	              encoding base64 and the prefix "Basic " it is basic
	//	              authentication, and the secret user:password.
	//
	// Of the pairs of keys the secret is the public key, in DER, or the 32 bytes of
	// ed25519. A private key (PKCS #8, or the 64 bytes of ed25519) can sign too.
	Algorithm string `yaml:"algorithm"`
	// Secret is how the secret's text becomes a key: raw (its bytes), hex, base64,
	// whsec-base64 (base64 after an optional whsec_ or v1,whsec_), whpk-base64 (after
	// whpk_, or whsk_ where it is the private key), pem, sha1 (the hash of its bytes) or
	// salesforce-id. Default: raw.
	Secret string `yaml:"secret"`
	// KeyID is the template of the name of a key. A secret that is written name:key
	// then counts for the requests of that name only, one without a colon for all.
	KeyID string `yaml:"key_id"`
	// Content is the template of what is signed. All of it must be there. A token
	// has none.
	Content string `yaml:"content"`
	// BodyHash is the parameter of the URL's query that holds the SHA-256 of the
	// body in hex, where the content is the {url} and not the body. A request
	// without it, or with another body, does not have this signature.
	BodyHash string `yaml:"body_hash"`
	// When maps templates to the value that each must have, as in [Unstored], for
	// the signature to count: for providers that sign some requests in another way.
	When map[string]string `yaml:"when"`
	// Keys are where the public key comes from, instead of the secret.
	Keys *Keys `yaml:"keys"`
	// JWT says that a token stands there, which has its own encoding, algorithm and
	// content.
	JWT *JWT `yaml:"jwt"`
	// Callback says that the provider is asked, and that nothing of all the others
	// is there.
	Callback *Callback `yaml:"callback"`
}

// Timestamp is a signed time of sending. {param:…} may stand in each text; a
// timestamp whose header is empty is not asked for.
type Timestamp struct {
	// Scheme is as in [Signature].
	Scheme string `yaml:"scheme"`
	// Place is where the timestamp stands; the first item counts.
	Place `yaml:",inline"`
	// Unit is how it is written: s or ms (since 1970, digits only), or rfc3339.
	Unit string `yaml:"unit"`
	// Tolerance is how far it may lie in the past, and in the future. Zero: any
	// time within ten years is accepted, unless the source says more; for providers that give no
	// figure, and may send a retry under the time of the first attempt.
	Tolerance time.Duration `yaml:"tolerance"`
}

// Handshake is a kind of request that proves nothing, and is answered all the
// same: the provider tries the URL out. One whose answer cannot be filled is
// none. A request that carries a signature is none either, where events come by
// the same method and the handshake does not say Signed.
type Handshake struct {
	// Method is the HTTP method. Default: POST.
	Method string `yaml:"method"`
	// When maps templates to the value that each must have, as in [Unstored].
	When map[string]string `yaml:"when"`
	// Signed says that the request may carry a signature, which is not looked at:
	// where the secret itself comes with the handshake.
	Signed bool `yaml:"signed"`
	// Tell is a template of what the operator must learn of the request, and can
	// learn in no other way: a secret, too. It is logged, so that such a handshake
	// should need a parameter that is set only meanwhile.
	Tell string `yaml:"tell"`
	// Answer is what the provider wants to hear.
	Answer AnswerForm `yaml:"answer"`
}

// Unstored is a kind of request that is verified and answered, but not stored.
type Unstored struct {
	// When maps templates to the value that each must have: a text, in which
	// {param:…} may stand, or * for any value that is not empty. A parameter that
	// is left empty fits nothing.
	When map[string]string `yaml:"when"`
	// Call is made before the answer; where it fails the answer is 503.
	Call *Call `yaml:"call"`
	// Answer is what the provider wants to hear.
	Answer AnswerForm `yaml:"answer"`
}

// AnswerForm is an answer to the provider.
type AnswerForm struct {
	// Status is the HTTP status. Default: 202.
	Status int `yaml:"status"`
	// ContentType is the media type of the body. Default: text/plain; charset=utf-8.
	ContentType string `yaml:"content_type"`
	// Headers maps the names of further headers to the templates of their values.
	Headers map[string]string `yaml:"headers"`
	// Body is the template of the body. Default: empty. In JSON and XML what fills
	// it is escaped.
	Body string `yaml:"body"`
	// Proof is what {signature} in the body stands for.
	Proof *Proof `yaml:"proof"`
}

// Proof is a signature that an answer shows, to prove that we hold the secret.
// What a stranger could have signed in this way is bounded: no more than 256
// letters, digits and the signs -._~+/=, no JSON (a number) and no field of a form,
// so that it is no body of a webhook.
type Proof struct {
	// Content is the template of what is signed.
	Content string `yaml:"content"`
	// Pattern is a regular expression that all of the content must match, where the
	// bound above would let a body be signed. Empty: none.
	Pattern string `yaml:"pattern"`
	// Algorithm is one of the hmac- of [Signature]. The key is the first secret.
	Algorithm string `yaml:"algorithm"`
	// Encoding is how the signature is written, as in [Signature].
	Encoding string `yaml:"encoding"`
}

// Templates is an ordered choice: the first template that is not absent. In
// YAML a single one may be written without the list.
type Templates []string

// UnmarshalYAML reads a template or a list of them.
func (t *Templates) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if err := unmarshal(&one); err == nil {
		*t = Templates{one}
		return nil
	}
	return unmarshal((*[]string)(t))
}
