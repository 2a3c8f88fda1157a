package seal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxKeys bounds a key file.
const maxKeys = 100

// Load reads a key file.
func Load(path string) (*Ring, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	r, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read the key file %s: %w", path, err)
	}
	return r, nil
}

// Parse reads the text of a key file. Its errors do not repeat what it says.
func Parse(text []byte) (*Ring, error) {
	r := new(Ring)
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		secret, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(secret) != keySize {
			return nil, fmt.Errorf("line %d is not %d bytes in base64, as openssl rand -base64 %d makes them", number, keySize, keySize)
		}
		if len(r.keys) == maxKeys {
			return nil, fmt.Errorf("it has more than %d keys", maxKeys)
		}
		r.keys = append(r.keys, newKey([keySize]byte(secret)))
	}
	if len(r.keys) == 0 {
		return nil, errors.New("it has no key")
	}
	return r, nil
}

// LoadOrMake reads a key file, which it makes, with a new key, if there is none.
// The new file is durable before anything is sealed with it.
func LoadOrMake(path string) (*Ring, error) {
	r, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails: see its documentation
	text := "# The key that seals secrets of functions. Without it they are lost; keep it apart from backups.\n" +
		base64.StdEncoding.EncodeToString(secret) + "\n"
	if err := write(path, text); err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	return Load(path)
}

// write makes a file that is there whole or not at all.
func write(path, text string) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// A link and no rename: a file that came meanwhile is not replaced.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
