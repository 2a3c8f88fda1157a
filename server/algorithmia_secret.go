package server

import (
	"context"
	"maps"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
)

// secretID is the id of a secret of an algorithm.
func secretID(k *knownAlgorithm, key string) string { return idOf("secret", k.ID+"/"+key) }

func (k *knownAlgorithm) secret(s admin.Secret) algorithmia.Secret {
	label := k.algorithm.Secrets[s.Name]
	out := algorithmia.Secret{
		ID: secretID(k, s.Name), ShortName: label.ShortName, Description: s.Description, Key: s.Name,
		OwnerType: "algorithm", OwnerID: k.ID, Provider: algorithmia.SecretProvider,
		Created: algorithmia.Time{Time: label.Created}, Modified: algorithmia.Time{Time: s.Updated},
	}
	if out.ShortName == "" { // it was set by other means
		out.ShortName = s.Name
	}
	if out.Created.IsZero() {
		out.Created = out.Modified
	}
	return out
}

// Secrets implements algorithmia.AlgorithmSecrets.
func (a algorithmAPI) Secrets(ctx context.Context, name string) ([]algorithmia.Secret, error) {
	k, err := a.must(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := a.functions.vault.list(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []algorithmia.Secret
	for _, s := range list {
		out = append(out, k.secret(s))
	}
	return out, nil
}

// find returns the secret with an id.
func (a algorithmAPI) find(ctx context.Context, k *knownAlgorithm, id string) (admin.Secret, error) {
	list, err := a.functions.vault.list(ctx, k.name)
	if err != nil {
		return admin.Secret{}, err
	}
	for _, s := range list {
		if secretID(k, s.Name) == id {
			return s, nil
		}
	}
	return admin.Secret{}, runnel.Errorf(runnel.CodeNotFound, "the algorithm has no secret %.64q", id)
}

// label keeps the short name of a secret; nil forgets it.
func (a algorithmAPI) label(ctx context.Context, k *knownAlgorithm, key string, l *secretLabel) error {
	labels := maps.Clone(k.algorithm.Secrets)
	if labels == nil {
		labels = make(map[string]secretLabel)
	}
	if l == nil {
		if _, ok := labels[key]; !ok {
			return nil
		}
		delete(labels, key)
	} else {
		labels[key] = *l
	}
	k.algorithm.Secrets = labels
	return a.store(ctx, k)
}

// maxShortName is the most bytes of a short name.
const maxShortName = 100

func checkShortName(name *string) error {
	if name != nil && len(*name) > maxShortName {
		return runnel.Errorf(runnel.CodeInvalid, "short_name: has %d bytes, and at most %d are kept", len(*name), maxShortName)
	}
	return nil
}

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// AddSecret implements algorithmia.AlgorithmSecrets.
func (a algorithmAPI) AddSecret(ctx context.Context, name string, in algorithmia.PutSecret) (algorithmia.Secret, error) {
	none := algorithmia.Secret{}
	if err := checkShortName(in.ShortName); err != nil {
		return none, err
	}
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return none, err
	}
	defer done()
	k, err := a.must(ctx, name)
	if err != nil {
		return none, err
	}
	if _, err := a.find(ctx, &k, secretID(&k, *in.Key)); err == nil {
		return none, runnel.Errorf(runnel.CodeConflict, "secret_key: the algorithm has a secret %.100q already: PUT it", *in.Key)
	}
	s, err := a.PutSecret(ctx, name, *in.Key, admin.PutSecret{Value: value(in.Value), Description: value(in.Description)})
	if err != nil {
		return none, err
	}
	if err := a.label(ctx, &k, s.Name, &secretLabel{value(in.ShortName), s.Updated}); err != nil {
		return none, err
	}
	return k.secret(s), nil
}

// ChangeSecret implements algorithmia.AlgorithmSecrets. Under another key it is
// another secret, with another id.
func (a algorithmAPI) ChangeSecret(ctx context.Context, name, id string, in algorithmia.PutSecret) (algorithmia.Secret, error) {
	none := algorithmia.Secret{}
	if err := checkShortName(in.ShortName); err != nil {
		return none, err
	}
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return none, err
	}
	defer done()
	k, err := a.must(ctx, name)
	if err != nil {
		return none, err
	}
	s, err := a.find(ctx, &k, id)
	if err != nil {
		return none, err
	}
	before, put := s.Name, admin.PutSecret{Value: value(in.Value), Description: s.Description}
	if in.Description != nil {
		put.Description = *in.Description
	}
	key := s.Name
	if in.Key != nil && *in.Key != "" {
		key = *in.Key
	}
	if key != before {
		if _, err := a.find(ctx, &k, secretID(&k, key)); err == nil {
			return none, runnel.Errorf(runnel.CodeConflict, "secret_key: the algorithm has a secret %.100q already", key)
		}
	}
	if put.Value != "" || key != before || put.Description != s.Description {
		if put.Value == "" {
			if put.Value, err = a.functions.vault.value(ctx, name, before); err != nil {
				return none, err
			}
		}
		if s, err = a.PutSecret(ctx, name, key, put); err != nil {
			return none, err
		}
	}
	label := k.algorithm.Secrets[before]
	if in.ShortName != nil {
		label.ShortName = *in.ShortName
	}
	if err := a.label(ctx, &k, key, &label); err != nil {
		return none, err
	}
	if key != before {
		if err := a.forgetSecret(ctx, &k, before); err != nil {
			return none, err
		}
	}
	return k.secret(s), nil
}

// forgetSecret removes a secret by its key. The caller has the turn.
func (a algorithmAPI) forgetSecret(ctx context.Context, k *knownAlgorithm, key string) error {
	if err := a.functionAPI.DeleteSecret(ctx, k.name, key); err != nil {
		return err
	}
	return a.label(ctx, k, key, nil)
}

// DeleteSecret implements algorithmia.AlgorithmSecrets.
func (a algorithmAPI) DeleteSecret(ctx context.Context, name, id string) error {
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	k, err := a.must(ctx, name)
	if err != nil {
		return err
	}
	s, err := a.find(ctx, &k, id)
	if err != nil {
		return err
	}
	return a.forgetSecret(ctx, &k, s.Name)
}
