package receiver

import "time"

// JWT is a signature that is a JSON Web Token (RFC 7519). It proves who sent the
// request; the body only where a claim holds its hash. The token must have an
// end, exp, or a bound by MaxAge. {param:…} may stand in each text.
type JWT struct {
	// Algorithms are those that are accepted, by their names in RFC 7518: RS256,
	// ES256, EdDSA… Those of shared secrets, HS256, HS384 and HS512, stand alone.
	Algorithms []string `yaml:"algorithms"`
	// Keys are where the sender's public keys come from. Absent: the secrets of the
	// source are the keys.
	Keys *Keys `yaml:"keys"`
	// Issuers are the accepted values of the claim iss. None: any.
	Issuers []string `yaml:"issuers"`
	// Audience is a template of what must be among the values of the claim aud.
	// Absent: any.
	Audience Templates `yaml:"audience"`
	// Claims maps other claims, keys between dots, to the template of the value
	// that each must have, or * for any that is not empty. One whose parameter is left
	// empty is not asked for.
	Claims map[string]string `yaml:"claims"`
	// Hashes are claims that hold the hash of a part of the request.
	Hashes []ClaimedHash `yaml:"hashes"`
	// Tolerance is how far the clocks may differ.
	Tolerance time.Duration `yaml:"tolerance"`
	// MaxAge is how long after the claim iat the token is good. Zero: to its exp.
	MaxAge time.Duration `yaml:"max_age"`
	// Endless says that the provider's tokens have no exp, and no iat that is close.
	Endless bool `yaml:"endless"`
}

// ClaimedHash is a claim with the hash of a part of the request. A token without
// the claim is good only where that part is empty.
type ClaimedHash struct {
	// Claim is its name.
	Claim string `yaml:"claim"`
	// Content is the template of what is hashed.
	Content string `yaml:"content"`
	// Hash is sha1, sha256, sha384 or sha512. Default: sha256.
	Hash string `yaml:"hash"`
	// Encoding is how the hash is written, as in [Signature]. Default: hex.
	Encoding string `yaml:"encoding"`
}

// Call is a request that Belay makes of the provider. Beside the placeholders of
// [Form] its templates know
//
//	{secret}  the secret of the source; of several the first, and in a [Callback]
//	          the next where the provider refuses one
//	{key_id}  the name of a key: the kid of a token
//
// Nothing else can be asked for than what URLs allows, and a redirect is no answer.
type Call struct {
	// Method is GET or POST. Default: GET.
	Method string `yaml:"method"`
	// URL is the template of the URL: https, and the default port.
	URL string `yaml:"url"`
	// URLs are the patterns that the URL must fit. In them a * stands for one or
	// more letters, digits, dashes and underscores, and ?* at the end for any query.
	// May be absent where the URL has no placeholders.
	URLs []string `yaml:"urls"`
	// Headers maps names of headers to templates. One that is absent is not sent.
	Headers map[string]string `yaml:"headers"`
	// Basic is the template of user:password.
	Basic string `yaml:"basic"`
	// Body is the template of the body. In JSON what fills it is escaped.
	Body string `yaml:"body"`
}

// Keys is where public keys are fetched from. A source whose secrets are public
// keys in PEM (or private ones, which can sign too) fetches none.
type Keys struct {
	// Call gets them.
	Call `yaml:",inline"`
	// Format is what comes:
	//
	//	jwks  a JSON Web Key Set (RFC 7517)
	//	jwk   one JSON Web Key
	//	x509  a JSON object of certificates in PEM, by the names of their keys
	//	pem   a public key or a certificate in PEM
	//	oidc  the discovery document of an OpenID provider, which leads to a set of
	//	      keys; URLs must allow its URL too
	Format string `yaml:"format"`
	// Member is the member of a JSON document that holds the key or the keys:
	// keys between dots. Default: all of it.
	Member string `yaml:"member"`
	// Names are the names that a certificate must be for, one of them at least,
	// from an authority that the system trusts. None: who serves the certificate
	// vouches for it.
	Names []string `yaml:"names"`
}

// Callback is a signature that is none: the provider is asked whether the
// request is its own. That is done before the answer, so that what is answered
// 2xx is verified and stored.
type Callback struct {
	// Call asks.
	Call `yaml:",inline"`
	// Expect is the body of the answer that says yes. Default: any, with the status
	// 200.
	Expect string `yaml:"expect"`
	// Replace says that the body of the answer is the event's, and nothing of the
	// request's body is believed.
	Replace bool `yaml:"replace"`
}
