package server

import (
	"context"

	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
)

// keys are the catalog's keys as package auth reads them.
type keys struct{ catalog *catalog.Catalog }

func (k keys) Key(ctx context.Context, id string) (auth.Key, error) {
	key, err := k.catalog.Key(ctx, id)
	return auth.Key(key), err
}

// accounts are the catalog's accounts as the SQS door reads them.
type accounts struct{ catalog *catalog.Catalog }

func (a accounts) AccountName(ctx context.Context, id string) (string, error) {
	account, err := a.catalog.AccountByID(ctx, id)
	return account.Name, err
}
