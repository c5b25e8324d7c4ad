// Package seal encrypts what is stored, with a Tink keyset
// (https://developers.google.com/tink): AES-256-GCM, every ciphertext bound to the
// place that it stands at. A keyset has one primary key, which encrypts, and others,
// which still decrypt.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrOpen: no key of the keyset opens a ciphertext at its place.
var ErrOpen = errors.New("no key of the keyset opens it")

// Box encrypts and decrypts.
type Box struct{ aead tink.AEAD }

// Load reads a keyset from a file in Tink's JSON form, as tinkey create-keyset and
// [Create] write it.
func Load(path string) (*Box, error) {
	handle, err := read(path)
	if err != nil {
		return nil, err
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("the keyset %s is not one for AEAD, make one with belay keyset create: %w", path, err)
	}
	return &Box{primitive}, nil
}

// Ensure loads a keyset, or makes one where there is none.
func Ensure(path string) (*Box, error) {
	if err := Create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return Load(path)
}

// New makes a keyset with one key, in Tink's JSON form.
func New() ([]byte, error) {
	manager := keyset.NewManager()
	if err := addPrimary(manager); err != nil {
		return nil, err
	}
	return encode(manager)
}

// Create makes a keyset with one key, which its owner alone can read.
// [fs.ErrExist] if there is a file already.
func Create(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("the keyset %s: %w; belay keyset rotate adds a key to it", path, fs.ErrExist)
	}
	manager := keyset.NewManager()
	if err := addPrimary(manager); err != nil {
		return err
	}
	return write(path, manager)
}

// Rotate adds a key and makes it the one that encrypts. The others stay: what they
// have encrypted is read until it is written again.
func Rotate(path string) error {
	handle, err := read(path)
	if err != nil {
		return err
	}
	manager := keyset.NewManagerFromHandle(handle)
	if err := addPrimary(manager); err != nil {
		return err
	}
	return write(path, manager)
}

// Seal encrypts a text for a place.
func (b *Box) Seal(text []byte, place string) ([]byte, error) {
	sealed, err := b.aead.Encrypt(text, []byte(place))
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed, nil
}

// Open decrypts what Seal has encrypted for the same place. It fails with
// [ErrOpen].
func (b *Box) Open(sealed []byte, place string) ([]byte, error) {
	text, err := b.aead.Decrypt(sealed, []byte(place))
	if err != nil {
		return nil, ErrOpen // Tink's error says no more
	}
	return text, nil
}

func addPrimary(m *keyset.Manager) error {
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	return nil
}

// maxKeyset bounds a keyset in bytes: some 200 keys.
const maxKeyset = 64 << 10

// read reads a keyset. Its errors hold nothing of it.
func read(path string) (*keyset.Handle, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the keyset: %w; belay keyset create makes one", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the keyset: %w", err)
	}
	if info.Size() > maxKeyset {
		return nil, fmt.Errorf("the keyset %s has %d bytes, want at most %d", path, info.Size(), maxKeyset)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the keyset: %w", err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("the file %s is not a Tink keyset in JSON, make one with belay keyset create", path)
	}
	return handle, nil
}

func encode(m *keyset.Manager) ([]byte, error) {
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("make a keyset: %w", err)
	}
	var data bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&data)); err != nil {
		return nil, fmt.Errorf("write a keyset: %w", err)
	}
	data.WriteByte('\n')
	return data.Bytes(), nil
}

// write replaces the file at once: whoever reads it meanwhile gets the old or the
// new one.
func write(path string, m *keyset.Manager) error {
	data, err := encode(m)
	if err != nil {
		return err
	}
	// CreateTemp gives 0600.
	file, err := os.CreateTemp(filepath.Dir(path), ".keyset-")
	if err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the keyset: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
