package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Secrets is what the API does of the secrets of functions. A function is
// OWNER/NAME. No method returns a value.
type Secrets interface {
	// Secrets describes the secrets of a function, by name.
	Secrets(ctx context.Context, function string) ([]Secret, error)
	// PutSecret stores a secret and has running workers replaced. The function
	// may still be to come.
	PutSecret(ctx context.Context, function, name string, in PutSecret) (Secret, error)
	// DeleteSecret removes a secret in the same way.
	DeleteSecret(ctx context.Context, function, name string) error
}

// Secret describes a secret of a function. Nothing shows its value.
type Secret struct {
	Name        string    `json:"name" doc:"The environment variable that it is to workers." example:"DB_PASSWORD"`
	Description string    `json:"description"`
	Updated     time.Time `json:"updated" doc:"When it was set last."`
}

// PutSecret is a secret as it is set.
type PutSecret struct {
	Value       string `json:"value" doc:"Text of 1 byte to 64 KiB. It is given to workers and to nobody else."`
	Description string `json:"description,omitempty" doc:"To 256 bytes. It is shown."`
}

// SecretPath is the path of a secret.
type SecretPath struct {
	FunctionPath
	Secret string `path:"secret" doc:"The name: letters, digits and underscores, no digit first." example:"DB_PASSWORD"`
}

type secretsAnswer struct {
	Body struct {
		Secrets []Secret `json:"secrets"`
	}
}

func (d *Door) listSecrets(ctx context.Context, caller auth.Caller, in *FunctionPath) (*secretsAnswer, error) {
	if d.Secrets == nil {
		return nil, unsupported("secrets")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	list, err := d.Secrets.Secrets(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	out := new(secretsAnswer)
	out.Body.Secrets = filled(list)
	return out, nil
}

type putSecretInput struct {
	SecretPath
	Body PutSecret
}

type secretAnswer struct{ Body Secret }

func (d *Door) putSecret(ctx context.Context, caller auth.Caller, in *putSecretInput) (*secretAnswer, error) {
	if d.Secrets == nil {
		return nil, unsupported("secrets")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	if in.Body.Value == hidden {
		return nil, &runnel.FieldError{Path: "value", Err: errors.New("*** is shown in place of a value: send the value")}
	}
	s, err := d.Secrets.PutSecret(ctx, name, in.Secret, in.Body)
	if err != nil {
		return nil, fmt.Errorf("set secret: %w", err)
	}
	return &secretAnswer{s}, nil
}

func (d *Door) deleteSecret(ctx context.Context, caller auth.Caller, in *SecretPath) (*struct{}, error) {
	if d.Secrets == nil {
		return nil, unsupported("secrets")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	if err := d.Secrets.DeleteSecret(ctx, name, in.Secret); err != nil {
		return nil, fmt.Errorf("delete secret: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}
