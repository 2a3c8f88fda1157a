package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/seal"
)

// vault keeps the secrets of functions in the catalog, sealed by the keys of a
// file that is not part of it (docs/adr/0020-inside-a-function.md). The file is
// read each time that it is needed, which is seldom.
type vault struct {
	catalog *catalog.Catalog
	path    string // of the key file
	own     bool   // it is in the data directory, and is made when it is needed
	log     *slog.Logger

	changing sync.Mutex // held while secrets are read to be changed
}

const (
	// secretKeyFile is the key file of a data directory.
	secretKeyFile = "secret.key"
	// kindSecret is the catalog's kind of secrets; names are OWNER/NAME/SECRET.
	kindSecret = "secret"
)

// The bounds of a function's secrets.
const (
	maxSecrets           = 100
	maxSecretName        = 100
	maxSecretValue       = 64 << 10
	maxSecretDescription = 256
)

// secret is a secret as it is stored.
type secret struct {
	Sealed      []byte    `json:"sealed"`
	Description string    `json:"description,omitempty"`
	Updated     time.Time `json:"updated"`
}

func newVault(cfg *Config, c *catalog.Catalog) *vault {
	v := &vault{catalog: c, path: cfg.SecretKeyFile, log: cfg.Log}
	if v.path == "" {
		v.path, v.own = filepath.Join(cfg.Dir, secretKeyFile), true
	}
	return v
}

// ring reads the key file. For sealing, that of the data directory is made if
// there is none.
func (v *vault) ring(forSealing bool) (*seal.Ring, error) {
	load := seal.Load
	if forSealing && v.own {
		load = seal.LoadOrMake
	}
	r, err := load(v.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, runnel.Errorf(runnel.CodeUnavailable, "the key file of secrets, %s, is missing: put it back, or set the secrets again", v.path)
	case err != nil:
		return nil, runnel.Errorf(runnel.CodeUnavailable, "the key file of secrets cannot be used: %v", err)
	}
	return r, nil
}

// open opens a sealed value. what names it in the error.
func (v *vault) open(r *seal.Ring, what string, sealed []byte, bound ...string) (string, error) {
	value, err := r.Open(sealed, bound...)
	switch {
	case errors.Is(err, seal.ErrKey):
		return "", runnel.Errorf(runnel.CodeUnavailable, "%s does not open: it was sealed with a key that is not in the key file %s: put that key back, as a line of the file, or set it again", what, v.path)
	case err != nil:
		return "", runnel.Errorf(runnel.CodeUnavailable, "%s does not open: %v: set it again", what, err)
	}
	return string(value), nil
}

// sealer seals the secrets of keys with the vault's key file.
type sealer struct {
	vault *vault

	// opened is the ring of the last Open: a catalog opens all its keys at once.
	mu     sync.Mutex
	opened *seal.Ring
}

// Seal implements catalog.Sealer.
func (s *sealer) Seal(value []byte, context ...string) ([]byte, error) {
	r, err := s.vault.ring(true)
	if err != nil {
		return nil, err
	}
	return r.Seal(value, context...), nil
}

// Open implements catalog.Sealer.
func (s *sealer) Open(sealed []byte, context ...string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil {
		if value, err := s.opened.Open(sealed, context...); err == nil {
			return value, nil
		}
	}
	r, err := seal.Load(s.vault.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the key file of secrets, %s, is missing: put it back and start the server again", s.vault.path)
	case err != nil:
		return nil, fmt.Errorf("the key file of secrets cannot be used: %w", err)
	}
	s.opened = r
	value, err := r.Open(sealed, context...)
	if errors.Is(err, seal.ErrKey) {
		return nil, fmt.Errorf("it was sealed with a key that is not in the key file %s: put that key back, as a line of the file, and start the server again", s.vault.path)
	}
	return value, err
}

// Current implements catalog.Sealer.
func (s *sealer) Current(sealed []byte) bool {
	r, err := s.vault.ring(false)
	return err != nil || r.Current(sealed) // what cannot be sealed stays as it is
}

// sealKeys seals the secrets of keys that are not sealed, or not with the first
// key of the file. What cannot be sealed now is sealed at the next start.
func sealKeys(ctx context.Context, c *catalog.Catalog, log *slog.Logger) {
	sealed, closed, err := c.SealKeys(ctx)
	for id, err := range closed {
		log.Error("a key does not open, requests with it are refused", "key", id, "err", err)
	}
	if len(closed) > 0 {
		log.Error("put the key file back and start again; where it is lost, stop the server and make a new admin key with runnel key create --dir DIR --admin", "keys", len(closed))
	}
	if err != nil {
		log.Error("the secrets of keys were not sealed, the next start tries again", "err", err)
	} else if sealed > 0 {
		log.Info("secrets of keys were sealed with the first key of the file", "keys", sealed)
	}
}

// hidden are the paths that workers must not read on its account.
func (v *vault) hidden() []string {
	if _, err := os.Stat(v.path); v.own || err != nil {
		return nil
	}
	return []string{v.path}
}

// stored returns the secrets of a function, by name, with the versions of their
// documents.
func (v *vault) stored(ctx context.Context, function string) (map[string]secret, map[string]uint64, error) {
	documents, err := v.catalog.List(ctx, kindSecret)
	if err != nil {
		return nil, nil, err
	}
	secrets, versions := make(map[string]secret), make(map[string]uint64)
	for _, d := range documents {
		name, ok := strings.CutPrefix(d.Name, function+"/")
		if !ok {
			continue
		}
		var s secret
		if err := json.Unmarshal(d.Value, &s); err != nil {
			return nil, nil, fmt.Errorf("read a secret of %s: %w", function, err)
		}
		secrets[name], versions[name] = s, d.Version
	}
	return secrets, versions, nil
}

// values are the secrets of a function for its workers: function.Options.Secrets.
func (v *vault) values(ctx context.Context, def runnel.Function) (map[string]string, error) {
	for name, value := range def.Env {
		if why, ok := strings.CutPrefix(value, unopened); ok {
			return nil, runnel.Errorf(runnel.CodeUnavailable, "function %s: env.%s: %s", def.Name, name, why)
		}
	}
	secrets, _, err := v.stored(ctx, def.Name)
	if err != nil || len(secrets) == 0 {
		return nil, err
	}
	r, err := v.ring(false)
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", def.Name, err)
	}
	out := make(map[string]string, len(secrets))
	var faults []error
	for name, s := range secrets {
		value, err := v.open(r, "the secret "+name+" of "+def.Name, s.Sealed, kindSecret, def.Name, name)
		out[name] = value
		faults = append(faults, err)
	}
	return out, errors.Join(faults...)
}

// value returns the value of one secret of a function.
func (v *vault) value(ctx context.Context, function, name string) (string, error) {
	secrets, _, err := v.stored(ctx, function)
	if err != nil {
		return "", err
	}
	s, ok := secrets[name]
	if !ok {
		return "", runnel.Errorf(runnel.CodeNotFound, "function %s has no secret %.100q", function, name)
	}
	r, err := v.ring(false)
	if err != nil {
		return "", err
	}
	return v.open(r, "the secret "+name+" of "+function, s.Sealed, kindSecret, function, name)
}

// list describes the secrets of a function, by name.
func (v *vault) list(ctx context.Context, function string) ([]admin.Secret, error) {
	secrets, _, err := v.stored(ctx, function)
	out := make([]admin.Secret, 0, len(secrets))
	for name, s := range secrets {
		out = append(out, admin.Secret{Name: name, Description: s.Description, Updated: s.Updated})
	}
	slices.SortFunc(out, func(a, b admin.Secret) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}

var secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// put stores a secret, in place of the one with its name. Its errors do not
// repeat the value.
func (v *vault) put(ctx context.Context, function, name, value, description string) (admin.Secret, error) {
	none := admin.Secret{}
	var faults []error
	fault := func(path, format string, args ...any) { faults = append(faults, at(path, fmt.Errorf(format, args...))) }
	if !secretName.MatchString(name) || len(name) > maxSecretName {
		fault("secret", "%.100q is not the name of an environment variable: want up to %d letters, digits and underscores, no digit first", name, maxSecretName)
	}
	switch {
	case value == "":
		fault("value", "is empty")
	case len(value) > maxSecretValue:
		fault("value", "has %d bytes, and at most 64 KiB are kept", len(value))
	case strings.ContainsRune(value, 0) || !utf8.ValidString(value):
		fault("value", "is not text, which an environment variable is: encode it, in base64 for example")
	}
	if len(description) > maxSecretDescription {
		fault("description", "has %d bytes, and at most %d are kept", len(description), maxSecretDescription)
	}
	if err := errors.Join(faults...); err != nil {
		return none, err
	}
	v.changing.Lock()
	defer v.changing.Unlock()
	secrets, versions, err := v.stored(ctx, function)
	if err != nil {
		return none, err
	}
	if versions[name] == 0 && len(secrets) >= maxSecrets {
		return none, runnel.Errorf(runnel.CodeLimit, "function %s has %d secrets, and may not have more", function, len(secrets))
	}
	r, err := v.ring(true)
	if err != nil {
		return none, err
	}
	s := secret{Sealed: r.Seal([]byte(value), kindSecret, function, name), Description: description, Updated: time.Now().UTC()}
	if err := v.store(ctx, function+"/"+name, s, versions[name]); err != nil {
		return none, err
	}
	return admin.Secret{Name: name, Description: s.Description, Updated: s.Updated}, nil
}

func (v *vault) store(ctx context.Context, name string, s secret, version uint64) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the secret %s: %w", name, err)
	}
	_, err = v.catalog.Put(ctx, kindSecret, name, text, version)
	return err
}

// remove removes a secret.
func (v *vault) remove(ctx context.Context, function, name string) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	_, versions, err := v.stored(ctx, function)
	switch {
	case err != nil:
		return err
	case versions[name] == 0:
		return runnel.Errorf(runnel.CodeNotFound, "function %s has no secret %.100q", function, name)
	}
	return v.catalog.Delete(ctx, kindSecret, function+"/"+name, versions[name])
}

// removeAll removes the secrets of a function.
func (v *vault) removeAll(ctx context.Context, function string) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	_, versions, err := v.stored(ctx, function)
	for name, version := range versions {
		err = errors.Join(err, v.catalog.Delete(ctx, kindSecret, function+"/"+name, version))
	}
	return err
}

// reseal seals with the first key of the file what was sealed with another one
// of them, so that the others can go. What does not open stays as it is: the
// function that needs it says so.
func (v *vault) reseal(ctx context.Context) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	documents, err := v.catalog.List(ctx, kindSecret)
	if err != nil || len(documents) == 0 {
		return err
	}
	r, err := v.ring(false)
	if err != nil {
		v.log.Error("secrets cannot be read, functions with secrets do not start", "err", err)
		return nil
	}
	done := 0
	for _, d := range documents {
		var s secret
		if err := json.Unmarshal(d.Value, &s); err != nil {
			return fmt.Errorf("read the secret %s: %w", d.Name, err)
		}
		i := strings.LastIndexByte(d.Name, '/')
		bound := []string{kindSecret, d.Name[:i], d.Name[i+1:]}
		value, err := r.Open(s.Sealed, bound...)
		if err != nil {
			v.log.Error("a secret does not open, its function does not start", "secret", d.Name, "err", err)
			continue
		}
		if r.Current(s.Sealed) {
			continue
		}
		s.Sealed = r.Seal(value, bound...)
		if err := v.store(ctx, d.Name, s, d.Version); err != nil {
			return fmt.Errorf("seal the secret %s with another key: %w", d.Name, err)
		}
		done++
	}
	if done > 0 {
		v.log.Info("secrets were sealed with the first key of the file", "secrets", done)
	}
	return nil
}

// unopened begins the value of a variable in memory that did not open, and why.
// No environment can have such a value.
const unopened = "\x00"

// storedEnv is what a function's document has in place of the values of its
// environment.
type storedEnv struct {
	Env map[string][]byte `json:"sealed_env,omitempty"`
}

// sealEnv seals the values of an environment. before is what is stored now:
// values that did not open are kept as they are.
func (v *vault) sealEnv(function string, env map[string]string, before storedEnv) (storedEnv, error) {
	if len(env) == 0 {
		return storedEnv{}, nil
	}
	r, err := v.ring(true)
	if err != nil {
		return storedEnv{}, err
	}
	out := storedEnv{make(map[string][]byte, len(env))}
	for name, value := range env {
		bound := []string{"env", function, name}
		old := before.Env[name]
		if strings.HasPrefix(value, unopened) {
			out.Env[name] = old
			continue
		}
		// What has not changed is not sealed anew.
		if now, err := r.Open(old, bound...); err == nil && r.Current(old) && bytes.Equal(now, []byte(value)) {
			out.Env[name] = old
			continue
		}
		out.Env[name] = r.Seal([]byte(value), bound...)
	}
	return out, nil
}

// openEnv opens the values of an environment, and says whether all are sealed
// with the key that seals now.
func (v *vault) openEnv(function string, sealed storedEnv) (env map[string]string, current bool) {
	if len(sealed.Env) == 0 {
		return nil, true
	}
	env, current = make(map[string]string, len(sealed.Env)), true
	r, err := v.ring(false)
	for name, value := range sealed.Env {
		failed := err
		if failed == nil {
			env[name], failed = v.open(r, "the value", value, "env", function, name)
			current = current && (failed != nil || r.Current(value))
		}
		if failed != nil {
			env[name] = unopened + failed.Error()
		}
	}
	return env, current
}
