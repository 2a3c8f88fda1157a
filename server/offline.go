package server

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/store"
)

// NewAdminKey makes an admin key of the account default in the data directory of
// cfg, whose server does not run: for who has lost the others. What it changes is
// in the audit log.
func NewAdminKey(ctx context.Context, cfg Config, label string) (_ Key, err error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return Key{}, err
	}
	s, err := store.Open(cfg.Dir, store.Options{Log: cfg.Log})
	if err != nil {
		return Key{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c, err := catalog.Open(s, catalog.Options{Sealer: &sealer{vault: newVault(&cfg, nil)}})
	if err != nil {
		return Key{}, err
	}
	ctx = catalog.By(ctx, "runnel key create --dir")
	a, err := c.Account(ctx, catalog.DefaultAccount)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		a, err = c.CreateAccount(ctx, catalog.DefaultAccount)
	}
	if err != nil {
		return Key{}, err
	}
	k := auth.NewKey(a.Name, a.ID, true, time.Now())
	k.Label = label
	if err := c.AddKey(ctx, catalog.Key(k)); err != nil {
		return Key{}, err
	}
	return Key{ID: k.ID, Secret: k.Secret, Token: k.Token(), Admin: true}, nil
}
