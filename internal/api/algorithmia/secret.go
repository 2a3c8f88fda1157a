package algorithmia

// Secrets of algorithms: .../secrets, .../secrets/ID, and /v1/secret-provider.
//
// secret_key is the name of the variable in the environment of the workers,
// short_name what people call it. A value is never told. There is one provider,
// the server. A list has its secrets twice, as "secrets" and as "results":
// clients differ in where they look.

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/runnel-io/runnel"
)

// AlgorithmSecrets are the secrets of algorithms.
type AlgorithmSecrets interface {
	// Secrets lists those of an algorithm, by key.
	Secrets(ctx context.Context, name string) ([]Secret, error)
	// AddSecret stores a new one: CodeConflict if the key is taken.
	AddSecret(ctx context.Context, name string, in PutSecret) (Secret, error)
	// ChangeSecret changes what in says of one: CodeNotFound if there is none.
	ChangeSecret(ctx context.Context, name, id string, in PutSecret) (Secret, error)
	// DeleteSecret removes one.
	DeleteSecret(ctx context.Context, name, id string) error
}

// Secret is a secret without its value.
type Secret struct {
	ID          string `json:"id"`
	ShortName   string `json:"short_name"`
	Description string `json:"description"`
	Key         string `json:"secret_key"`
	OwnerType   string `json:"owner_type"`
	OwnerID     string `json:"owner_id"`
	Provider    string `json:"provider_id"`
	Created     Time   `json:"created"`
	Modified    Time   `json:"modified"`
}

// PutSecret is what is said of a secret; nil stays as it is.
type PutSecret struct {
	ShortName   *string `json:"short_name"`
	Key         *string `json:"secret_key"`
	Value       *string `json:"secret_value"`
	Description *string `json:"description"`
}

// provider is where secrets are kept: here.
type provider struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Module      string `json:"moduleName"`
	Factory     string `json:"factoryClassName"`
	Interface   string `json:"interfaceVersion"`
	Enabled     bool   `json:"isEnabled"`
	Default     bool   `json:"isDefault"`
	Created     Time   `json:"created"`
	Modified    Time   `json:"modified"`
}

// SecretProvider is the id of the one provider.
const SecretProvider = "7b3c2c1e-5a35-5c7f-9c53-6e4f2a1d8b90"

func (d *Door) algorithmSecretRoutes(add func(method, rest string, serve func(w http.ResponseWriter, r *request) error, change func(r *Route))) {
	add(http.MethodGet, "/secrets", d.algorithmSecrets, nil)
	add(http.MethodPost, "/secrets", d.addSecret, nil)
	add(http.MethodPut, "/secrets/{secret}", d.changeSecret, nil)
	add(http.MethodDelete, "/secrets/{secret}", d.deleteSecret, nil)
}

func (d *Door) secretProviders(w http.ResponseWriter, _ *request) error {
	made := Time{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} // with the API
	writeJSON(w, http.StatusOK, []provider{{
		ID: SecretProvider, Name: "runnel", Description: "sealed in the data directory of the server", Module: "runnel",
		Interface: "1.0", Enabled: true, Default: true, Created: made, Modified: made,
	}})
	return nil
}

func (d *Door) algorithmSecrets(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, owning)
	if err != nil {
		return err
	}
	list, err := d.Algorithms.Secrets(r.Context(), name)
	if err != nil {
		return gone(err)
	}
	list = append([]Secret{}, list...)
	writeJSON(w, http.StatusOK, struct {
		Secrets []Secret `json:"secrets"`
		Results []Secret `json:"results"`
	}{list, list})
	return nil
}

// secretIn reads a secret of a body.
func secretIn(r *request) (in PutSecret, err error) {
	var body struct {
		PutSecret
		Provider string `json:"provider_id"`
	}
	if err := json.Unmarshal(r.body, &body); err != nil {
		return in, fault(http.StatusBadRequest, numberSecretMalformed, runnel.Errorf(runnel.CodeInvalid, "the body is not the JSON of a secret: want short_name, secret_key, secret_value and description, all texts"))
	}
	if body.Provider != "" && body.Provider != SecretProvider {
		return in, fault(http.StatusBadRequest, numberNoProvider, runnel.Errorf(runnel.CodeInvalid, "provider_id: the only provider is %s", SecretProvider))
	}
	return body.PutSecret, nil
}

// secretFault gives an error about a secret its number.
func secretFault(err error) error {
	switch runnel.CodeOf(err) {
	case runnel.CodeNotFound:
		return fault(http.StatusNotFound, numberNoSecret, err)
	case runnel.CodeInvalid, runnel.CodeConflict:
		return fault(http.StatusBadRequest, numberSecretConstraint, err)
	case runnel.CodeLimit: // may not succeed later by itself
		return fault(http.StatusBadRequest, numberSecretConstraint, err)
	}
	return fieldFault(err, numberSecretConstraint)
}

func (d *Door) addSecret(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	in, err := secretIn(r)
	if err != nil {
		return err
	}
	if in.Key == nil || *in.Key == "" {
		return fault(http.StatusBadRequest, numberSecretConstraint, runnel.Errorf(runnel.CodeInvalid, "secret_key: is missing: the name of the variable"))
	}
	if in.Value == nil || *in.Value == "" {
		return fault(http.StatusBadRequest, numberSecretNoValue, runnel.Errorf(runnel.CodeInvalid, "secret_value: is missing"))
	}
	s, err := d.Algorithms.AddSecret(r.Context(), name, in)
	if err != nil {
		return secretFault(err)
	}
	writeJSON(w, http.StatusOK, s)
	return nil
}

func (d *Door) changeSecret(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	in, err := secretIn(r)
	if err != nil {
		return err
	}
	s, err := d.Algorithms.ChangeSecret(r.Context(), name, r.value("secret"), in)
	if err != nil {
		return secretFault(err)
	}
	writeJSON(w, http.StatusOK, s)
	return nil
}

func (d *Door) deleteSecret(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	if err := d.Algorithms.DeleteSecret(r.Context(), name, r.value("secret")); err != nil {
		return secretFault(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
