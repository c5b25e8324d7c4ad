package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// v1 marks a signature by HMAC-SHA256.
	v1 = "v1"
	// maxID is the longest id in bytes. Ids in use have about 30.
	maxID = 256
)

// Sign sets the three headers of the webhook with this id and body, attempted at
// the time at. Give every secret that is in use: during a rotation the new and
// the old one, newest first. It fails with [ErrIDMissing], [ErrIDMalformed],
// [ErrTimestampMalformed] (before 1970) or [ErrNoSecret], and then sets nothing.
func Sign(header http.Header, id string, at time.Time, body []byte, secrets ...Secret) error {
	if err := checkID(id); err != nil {
		return err
	}
	if at.Unix() < 0 {
		return ErrTimestampMalformed
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(secrets))
	for _, s := range secrets {
		if !s.IsZero() {
			signatures = append(signatures, v1+","+s.sign(id, timestamp, body))
		}
	}
	if len(signatures) == 0 {
		return ErrNoSecret
	}
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, timestamp)
	header.Set(HeaderSignature, strings.Join(signatures, " "))
	return nil
}

// sign returns the v1 signature without its mark.
func (s Secret) sign(id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, *s.key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func checkID(id string) error {
	if id == "" {
		return ErrIDMissing
	}
	if len(id) > maxID {
		return ErrIDMalformed
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '.' {
			return ErrIDMalformed
		}
	}
	return nil
}
