package samples

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"sync"

	_ "embed"

	"github.com/belay-hooks/belay/pkg/receiver"
)

// public is the key of all secrets that are no key pair: 32 bytes.
const public = "belay's public key, for trials.."

// rsaPEM is an RSA key that everybody knows: to make one takes too long.
//
//go:embed rsa.pem
var rsaPEM []byte

// Secret is a secret for a source of this receiver that can also sign: of a key
// pair it is the private key. It is the same each time and known to everybody, so
// it is for trying out on a machine of one's own, and for tests.
func Secret(r *receiver.Receiver) (string, error) {
	f := r.Signatures[0]
	key := []byte(public)
	if private := privateKey(f.Algorithm); private != nil {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return "", err
		}
		if key = der; f.Algorithm == "ed25519" && f.Secret == "hex" {
			key = private.(ed25519.PrivateKey)
		}
	}
	switch f.Secret {
	case "hex":
		return hex.EncodeToString(key), nil
	case "base64":
		return base64.StdEncoding.EncodeToString(key), nil
	case "salesforce-id":
		return "00D000000000062EAA", nil
	case "whsec-base64":
		return "whsec_" + base64.StdEncoding.EncodeToString(key), nil
	case "pem":
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), nil
	}
	if f.Algorithm == "token" && f.Encoding == "base64" {
		return "belay:demo", nil // basic authentication
	}
	return "belay_demo_secret", nil
}

// privateKey is the key of an algorithm with key pairs; nil for the others.
func privateKey(algorithm string) any {
	switch algorithm {
	case "ed25519":
		return ed25519.NewKeyFromSeed([]byte(public))
	case "ecdsa-sha256":
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(public))
		if err != nil {
			panic("samples: " + err.Error()) // below the order of the curve, and tests would know
		}
		return key
	case "rsa-sha1", "rsa-sha256":
		return rsaKey()
	}
	return nil
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	block, _ := pem.Decode(rsaPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic("samples: " + err.Error())
	}
	return key.(*rsa.PrivateKey)
})
