package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// defaultOverlap is how long a key that was rotated is good.
const defaultOverlap = 24 * time.Hour

// APIKeys is what the API reads and does of keys. A key that does not exist is
// CodeNotFound.
type APIKeys interface {
	// Keys returns the keys of an account, the oldest first; Find one.
	Keys(ctx context.Context, account string) ([]APIKey, error)
	Find(ctx context.Context, id string) (APIKey, error)
	// Make makes a key; Change changes what is not nil. Make and Rotate return
	// the token, which nothing else does.
	Make(ctx context.Context, account string, in PutKey) (APIKey, error)
	Change(ctx context.Context, id string, in PutKey) (APIKey, error)
	Rotate(ctx context.Context, id string, overlap time.Duration) (APIKey, error)
	// Remove has the key refused from the next request on.
	Remove(ctx context.Context, id string) error
}

// APIKey is an API key.
type APIKey struct {
	ID          string             `json:"id" doc:"It is public: the access key id of AWS clients."`
	Account     string             `json:"account"`
	Type        runnel.KeyType     `json:"type" enum:"standard,management,admin"`
	Label       string             `json:"label"`
	Permissions runnel.Permissions `json:"permissions" doc:"Those of an admin key are not looked at."`
	Created     time.Time          `json:"created"`
	Expires     time.Time          `json:"expires,omitzero" doc:"When it ends. None: it does not."`
	Mask        string             `json:"mask" doc:"What of the token may be shown."`
	Token       string             `json:"token,omitempty" doc:"The key itself, ID.SECRET: told once, as it is made."`
}

// PutKey is a key as it is made or changed. What is left out stays; of a new key,
// it is nothing.
type PutKey struct {
	Label       *string             `json:"label,omitempty" doc:"For people, to 64 bytes."`
	Permissions *runnel.Permissions `json:"permissions,omitempty"`
	Admin       *bool               `json:"admin,omitempty" doc:"Whether a new key may act for the whole server. It cannot change."`
	Expires     *time.Time          `json:"expires,omitempty" doc:"When it ends."`
}

// KeyPath is the path of a key.
type KeyPath struct {
	Key string `path:"key" doc:"The id of the key."`
}

type keysAnswer struct {
	Body struct {
		Keys []APIKey `json:"keys"`
	}
}

func (d *Door) listKeys(ctx context.Context, caller auth.Caller, in *AccountPath) (*keysAnswer, error) {
	if d.Keys == nil {
		return nil, unsupported("keys")
	}
	if !caller.Admin && in.Account != caller.Account {
		return nil, runnel.Errorf(runnel.CodeNotFound, "there is no account %.80q", in.Account)
	}
	list, err := d.Keys.Keys(ctx, in.Account)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	out := new(keysAnswer)
	out.Body.Keys = filled(list)
	return out, nil
}

// holds says whether a caller may have a key of an account in its hands: an
// admin's may have any, a management key those of its account that may do no
// more than itself.
func holds(caller auth.Caller, account string, admin bool, may runnel.Permissions) error {
	switch {
	case caller.Admin:
		return nil
	case caller.Function != "" || strings.HasPrefix(caller.KeyID, "RS"):
		return runnel.Errorf(runnel.CodeDenied, "what is good for a while, as %s is, cannot make or change keys", caller.KeyID)
	case account != caller.Account || admin || caller.Type() != runnel.KeyManagement:
		return runnel.Errorf(runnel.CodeDenied, "this needs an admin key, or a management key of the account for keys that are not an admin's; %s is a %s one of %s", caller.KeyID, caller.Type(), caller.Account)
	case !may.Within(caller.Permissions):
		return runnel.Errorf(runnel.CodeDenied, "the key %s cannot make or change a key that may do more than itself", caller.KeyID)
	}
	return nil
}

// hold returns a key that the caller may change.
func (d *Door) hold(ctx context.Context, caller auth.Caller, id string) (APIKey, error) {
	if d.Keys == nil {
		return APIKey{}, unsupported("keys")
	}
	k, err := d.Keys.Find(ctx, id)
	if err == nil && !caller.Admin && k.Account != caller.Account {
		err = runnel.Errorf(runnel.CodeNotFound, "there is no such key")
	}
	if err != nil {
		return APIKey{}, fmt.Errorf("find key: %w", err)
	}
	return k, holds(caller, k.Account, k.Type == runnel.KeyAdmin, k.Permissions)
}

type makeKeyInput struct {
	AccountPath
	Body PutKey
}

type keyAnswer struct{ Body APIKey }

func (d *Door) makeKey(ctx context.Context, caller auth.Caller, in *makeKeyInput) (*keyAnswer, error) {
	if d.Keys == nil {
		return nil, unsupported("keys")
	}
	var may runnel.Permissions
	if in.Body.Permissions != nil {
		may = *in.Body.Permissions
	}
	if err := holds(caller, in.Account, in.Body.Admin != nil && *in.Body.Admin, may); err != nil {
		return nil, err
	}
	k, err := d.Keys.Make(ctx, in.Account, in.Body)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return &keyAnswer{k}, nil
}

type changeKeyInput struct {
	KeyPath
	Body PutKey
}

func (d *Door) changeKey(ctx context.Context, caller auth.Caller, in *changeKeyInput) (*keyAnswer, error) {
	k, err := d.hold(ctx, caller, in.Key)
	if err != nil {
		return nil, err
	}
	if in.Body.Admin != nil {
		return nil, &runnel.FieldError{Path: "admin", Err: errors.New("cannot change: make another key")}
	}
	if in.Body.Permissions != nil {
		if err := holds(caller, k.Account, k.Type == runnel.KeyAdmin, *in.Body.Permissions); err != nil {
			return nil, err
		}
	}
	if k, err = d.Keys.Change(ctx, in.Key, in.Body); err != nil {
		return nil, fmt.Errorf("change key: %w", err)
	}
	return &keyAnswer{k}, nil
}

type rotateKeyInput struct {
	KeyPath
	Body struct {
		Overlap *Duration `json:"overlap,omitempty" doc:"How long the old key is good from now on, to 30d; 0s: it ends at once. Default 24h."`
	}
}

func (d *Door) rotateKey(ctx context.Context, caller auth.Caller, in *rotateKeyInput) (*keyAnswer, error) {
	if _, err := d.hold(ctx, caller, in.Key); err != nil && caller.KeyID != in.Key {
		return nil, err // every key may put another in its own place
	}
	overlap := defaultOverlap
	if in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap)
	}
	if overlap < 0 || overlap > 30*24*time.Hour {
		return nil, &runnel.FieldError{Path: "overlap", Err: fmt.Errorf("%s is not from 0s to 30d", overlap)}
	}
	if d.Keys == nil {
		return nil, unsupported("keys")
	}
	k, err := d.Keys.Rotate(ctx, in.Key, overlap)
	if err != nil {
		return nil, fmt.Errorf("rotate key: %w", err)
	}
	return &keyAnswer{k}, nil
}

func (d *Door) removeKey(ctx context.Context, caller auth.Caller, in *KeyPath) (*struct{}, error) {
	if _, err := d.hold(ctx, caller, in.Key); err != nil {
		return nil, err
	}
	if err := d.Keys.Remove(ctx, in.Key); err != nil {
		return nil, fmt.Errorf("remove key: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}
