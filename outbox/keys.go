package outbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/stream"
)

// apiKey is a key of the API, as the bucket KEYS holds it. Of the key itself there
// is a hash: it has 130 random bits, so a fast one does.
type apiKey struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Access is read or write.
	Access      string `json:"access"`
	Description string `json:"description,omitempty"`
	// Prefix is how the key begins, for people to tell keys apart.
	Prefix  string    `json:"prefix"`
	Created time.Time `json:"created"`
	By      string    `json:"by"` // the id of the key that made it
}

// storedKey is how the bucket keeps a key.
type storedKey struct {
	apiKey
	Hash string `json:"hash"`
}

const (
	keyPrefix   = "belay_"
	prefixShown = len(keyPrefix) + 6
)

func hashKey(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}

// keyring holds the keys of the bucket.
type keyring struct {
	mu     sync.RWMutex
	byHash map[string]apiKey
	hashes map[string]string // by the bucket's key
	bad    func(key string, err error)
}

func (k *keyring) watcher() stream.Watcher {
	put := func(e stream.Entry) {
		var kept storedKey
		if err := json.Unmarshal(e.Value, &kept); err != nil || kept.Hash == "" {
			k.bad(e.Key, err)
			return
		}
		k.byHash[kept.Hash], k.hashes[e.Key] = kept.apiKey, kept.Hash
	}
	remove := func(key string) {
		delete(k.byHash, k.hashes[key])
		delete(k.hashes, key)
	}
	return stream.Watcher{
		Reset: func(entries []stream.Entry) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.byHash, k.hashes = make(map[string]apiKey), make(map[string]string)
			for _, e := range entries {
				put(e)
			}
		},
		Put: func(e stream.Entry) {
			k.mu.Lock()
			defer k.mu.Unlock()
			remove(e.Key)
			put(e)
		},
		Delete: func(key string, _ uint64) {
			k.mu.Lock()
			defer k.mu.Unlock()
			remove(key)
		},
	}
}

// find looks a key up by its hash: how long that takes tells of a hash at most.
func (k *keyring) find(text string) (apiKey, bool) {
	hash := hashKey(text)
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.byHash[hash]
	return key, ok
}

func (k *keyring) size() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.byHash)
}

func (k *keyring) list(tenant string) []apiKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	keys := []apiKey{}
	for _, key := range k.byHash {
		if key.Tenant == tenant {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b apiKey) int { return strings.Compare(a.ID, b.ID) })
	return keys
}

// createdKey is the answer to a new key, the only one with its text.
type createdKey struct {
	apiKey
	Key string `json:"key"`
}

func (a *api) createKey(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessOperator); err != nil {
		return err
	}
	body, err := readJSON(w, r)
	if err != nil {
		return err
	}
	f, err := readFields(body)
	if err != nil {
		return err
	}
	f.Only("access", "description")
	key := apiKey{
		Tenant: who.tenant, Access: oneOf(f, "access", "read", "write"),
		Description: f.Text("description", maxDescription), Created: time.Now().UTC(), By: who.key,
	}
	if err := f.Err(); err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	key.ID = "key_" + strings.ReplaceAll(id.String(), "-", "")
	text := keyPrefix + rand.Text()
	key.Prefix = text[:prefixShown]
	data, err := json.Marshal(storedKey{apiKey: key, Hash: hashKey(text)})
	if err != nil {
		return err
	}
	if _, err := a.broker.Bucket(stream.Keys).Create(r.Context(), key.Tenant+"."+key.ID, data); err != nil {
		return err
	}
	a.audit(who, "API key created", key.ID, "access", key.Access)
	rest.WriteJSON(w, http.StatusCreated, "application/json", createdKey{apiKey: key, Key: text})
	return nil
}

// keysPage is the list of a tenant's keys.
type keysPage struct {
	Keys []apiKey `json:"keys"`
}

func (a *api) listKeys(w http.ResponseWriter, _ *http.Request, who caller) error {
	if err := who.may(accessOperator); err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, "application/json", keysPage{Keys: a.ring.list(who.tenant)})
	return nil
}

func (a *api) revokeKey(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := who.may(accessOperator); err != nil {
		return err
	}
	id := mux.Vars(r)["id"]
	bucket, place := a.broker.Bucket(stream.Keys), who.tenant+"."+id
	missing := rest.NewProblem(http.StatusNotFound, "there is no such API key")
	if !rest.ValidName(id) {
		return missing
	}
	if _, err := bucket.Get(r.Context(), place); err != nil {
		if errors.Is(err, stream.ErrNotFound) {
			return missing
		}
		return err
	}
	if err := bucket.Delete(r.Context(), place); err != nil {
		return err
	}
	a.audit(who, "API key revoked", id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
