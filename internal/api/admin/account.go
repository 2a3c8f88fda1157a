package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Accounts is what the API reads and does of accounts and their members. An
// account that does not exist is CodeNotFound.
type Accounts interface {
	Accounts(ctx context.Context) ([]Account, error)
	Account(ctx context.Context, name string) (Account, error)
	// PutAccount makes an account, or changes the fields that are not nil.
	// Whether it is an organisation cannot change: CodeConflict.
	PutAccount(ctx context.Context, name string, in PutAccount) (Account, error)
	// AddMember and RemoveMember change who is a member of an organisation.
	AddMember(ctx context.Context, organization, user string) error
	RemoveMember(ctx context.Context, organization, user string) error
}

// Account is a user or an organisation.
type Account struct {
	Name         string    `json:"name" example:"acme"`
	ID           string    `json:"id" doc:"The 12 digits in ARNs and queue URLs." example:"000000000000"`
	UUID         string    `json:"uuid" doc:"What clients of Algorithmia know it by."`
	Organization bool      `json:"organization" doc:"Whether it has members."`
	Members      []string  `json:"members" doc:"The users that are members of the organisation."`
	Created      time.Time `json:"created"`
	Email        string    `json:"email"`
	FullName     string    `json:"full_name"`
	SessionLimit int       `json:"session_limit" doc:"How many calls it may have under way. 0: the server's default."`
}

// PutAccount is an account as it is made or changed. What is left out stays.
type PutAccount struct {
	Organization *bool   `json:"organization,omitempty" doc:"Whether it is an organisation, which has members. Default false; it cannot change."`
	Email        *string `json:"email,omitempty" doc:"To 255 bytes."`
	FullName     *string `json:"full_name,omitempty" doc:"To 255 bytes."`
	SessionLimit *int    `json:"session_limit,omitempty" doc:"How many calls it may have under way, to 100000; 0 for the server's default. It counts at once."`
}

// AccountPath is the path of an account.
type AccountPath struct {
	Account string `path:"account" doc:"The name of the account." example:"acme"`
}

type accountsAnswer struct {
	Body struct {
		Accounts []Account `json:"accounts"`
	}
}

func (d *Door) listAccounts(ctx context.Context, caller auth.Caller, _ *struct{}) (*accountsAnswer, error) {
	if d.Accounts == nil {
		return nil, unsupported("accounts")
	}
	all, err := d.Accounts.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	out := new(accountsAnswer)
	out.Body.Accounts = []Account{}
	for _, a := range all {
		if caller.Owns(a.Name) {
			out.Body.Accounts = append(out.Body.Accounts, a)
		}
	}
	return out, nil
}

type accountAnswer struct{ Body Account }

func (d *Door) findAccount(ctx context.Context, caller auth.Caller, in *AccountPath) (*accountAnswer, error) {
	if d.Accounts == nil {
		return nil, unsupported("accounts")
	}
	if !caller.Owns(in.Account) { // what is another's does not exist
		return nil, runnel.Errorf(runnel.CodeNotFound, "there is no account %.80q", in.Account)
	}
	a, err := d.Accounts.Account(ctx, in.Account)
	if err != nil {
		return nil, fmt.Errorf("find account: %w", err)
	}
	return &accountAnswer{a}, nil
}

type putAccountInput struct {
	AccountPath
	Body PutAccount
}

func (d *Door) putAccount(ctx context.Context, _ auth.Caller, in *putAccountInput) (*accountAnswer, error) {
	if d.Accounts == nil {
		return nil, unsupported("accounts")
	}
	a, err := d.Accounts.PutAccount(ctx, in.Account, in.Body)
	if err != nil {
		return nil, fmt.Errorf("put account: %w", err)
	}
	return &accountAnswer{a}, nil
}

type memberInput struct {
	AccountPath
	User string `path:"user" doc:"The name of a user." example:"ann"`
}

func (d *Door) addMember(ctx context.Context, _ auth.Caller, in *memberInput) (*struct{}, error) {
	if d.Accounts == nil {
		return nil, unsupported("accounts")
	}
	if err := d.Accounts.AddMember(ctx, in.Account, in.User); err != nil {
		return nil, fmt.Errorf("add member: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}

func (d *Door) removeMember(ctx context.Context, _ auth.Caller, in *memberInput) (*struct{}, error) {
	if d.Accounts == nil {
		return nil, unsupported("accounts")
	}
	if err := d.Accounts.RemoveMember(ctx, in.Account, in.User); err != nil {
		return nil, fmt.Errorf("remove member: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}

type whoamiAnswer struct {
	Body struct {
		Key           string             `json:"key" doc:"The id of the key. Empty: the server asks for none."`
		Type          runnel.KeyType     `json:"type" enum:"standard,management,admin"`
		Account       string             `json:"account"`
		AccountID     string             `json:"account_id"`
		Organizations []string           `json:"organizations" doc:"Those that the account is a member of."`
		Permissions   runnel.Permissions `json:"permissions" doc:"Those of an admin key are not looked at."`
	}
}

func (d *Door) whoami(_ context.Context, caller auth.Caller, _ *struct{}) (*whoamiAnswer, error) {
	out := new(whoamiAnswer)
	out.Body.Key, out.Body.Type, out.Body.Account, out.Body.AccountID = caller.KeyID, caller.Type(), caller.Account, caller.AccountID
	out.Body.Organizations, out.Body.Permissions = filled(caller.Organizations), caller.Permissions
	return out, nil
}
