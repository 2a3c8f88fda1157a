package server

import (
	"context"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
)

// Secrets implements admin.Secrets.
func (a functionAPI) Secrets(ctx context.Context, function string) ([]admin.Secret, error) {
	list, err := a.functions.vault.list(ctx, function)
	if err == nil && len(list) == 0 && !a.functions.exists(function) {
		err = runnel.Errorf(runnel.CodeNotFound, "there is no function %s", function)
	}
	return list, err
}

// PutSecret implements admin.Secrets. Code may want its secrets when it is
// loaded, so they can be set before it is deployed.
func (a functionAPI) PutSecret(ctx context.Context, function, name string, in admin.PutSecret) (admin.Secret, error) {
	// The rule for names is that of functions; the rest is to be valid.
	if err := (runnel.Function{Name: function, Runtime: runnel.RuntimePython}).Validate(); err != nil {
		return admin.Secret{}, err
	}
	if a.functions.goHandler(function) != nil {
		return admin.Secret{}, runnel.Errorf(runnel.CodeConflict, "%s is a Go handler of the program that the server is part of, which has the environment of that", function)
	}
	done, err := a.take(ctx)
	if err != nil {
		return admin.Secret{}, err
	}
	defer done()
	s, err := a.functions.vault.put(ctx, function, name, in.Value, in.Description)
	if err != nil {
		return admin.Secret{}, err
	}
	a.flows.log.Info("secret set", "function", function, "secret", name)
	return s, a.refresh(ctx, function, "stored")
}

// DeleteSecret implements admin.Secrets.
func (a functionAPI) DeleteSecret(ctx context.Context, function, name string) error {
	done, err := a.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := a.functions.vault.remove(ctx, function, name); err != nil {
		return err
	}
	a.flows.log.Info("secret removed", "function", function, "secret", name)
	return a.refresh(ctx, function, "removed")
}

// refresh gives the workers of a function its secrets as they are now. A change
// that is stored is not undone where the code does not load with it: it may be
// the first of two that belong together.
func (a functionAPI) refresh(ctx context.Context, function, what string) error {
	err := a.functions.set.Refresh(context.WithoutCancel(ctx), function)
	switch runnel.CodeOf(err) {
	case "":
		a.flows.wake()
		return nil
	case runnel.CodeNotFound: // it is still to be deployed
		return nil
	}
	return runnel.Errorf(runnel.CodeOf(err), "the secret is %s, but new workers do not start, and those that run go on as they were: %v", what, err)
}
