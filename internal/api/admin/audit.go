package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Audits reads the log of changes.
type Audits interface {
	// Audit returns entries, the newest first, and whether there may be older
	// ones.
	Audit(ctx context.Context, q AuditQuery) (entries []AuditEntry, more bool, err error)
}

// AuditQuery says which entries are wanted. Zero fields do not count.
type AuditQuery struct {
	Account, Kind, Name, Who string
	Since, Until             time.Time
	Before                   uint64 // only entries with a lower number
	Limit                    int
}

// AuditEntry is one change.
type AuditEntry struct {
	Number  uint64          `json:"number" doc:"Greater than those of earlier changes."`
	Time    time.Time       `json:"time"`
	Key     string          `json:"key,omitempty" doc:"The id of the key that it was done with."`
	Account string          `json:"account,omitempty" doc:"The account of the key."`
	Address string          `json:"address,omitempty" doc:"Where the request came from."`
	By      string          `json:"by,omitempty" doc:"What did it, where that is not only a request." example:"spec file /etc/runnel.yaml"`
	Owner   string          `json:"owner,omitempty" doc:"The account that what was changed belongs to."`
	Kind    string          `json:"kind" example:"flow"`
	Name    string          `json:"name" example:"acme/resize-images"`
	Action  string          `json:"action" doc:"create, change or delete." example:"change"`
	Before  json.RawMessage `json:"before,omitempty" doc:"What it was, as it is stored, without what is secret. Of more than 16 KiB the beginning, as text."`
	After   json.RawMessage `json:"after,omitempty" doc:"What it is."`
}

type auditInput struct {
	Account string `query:"account" doc:"Only what belongs to this account. Default: the caller's, or all for an admin key."`
	Kind    string `query:"kind" doc:"Only changes of this kind of thing." example:"flow"`
	Name    string `query:"name" doc:"Only changes of the thing of this name." example:"acme/resize-images"`
	Who     string `query:"who" doc:"Only what this did: the id of a key, an account, or the by of an entry."`
	Since   moment `query:"since" doc:"Only from this time on: RFC 3339, or how long ago."`
	Until   moment `query:"until" doc:"Only before this time: RFC 3339, or how long ago."`
	Before  place  `query:"before" doc:"Only entries with a lower number: for the next page."`
	Limit   string `query:"limit" doc:"How many, 1 to 1000. Default 100."`
}

type auditAnswer struct {
	Body struct {
		Entries []AuditEntry `json:"entries"`
		More    bool         `json:"more" doc:"Whether there may be older ones: ask with before."`
	}
}

func (d *Door) audit(ctx context.Context, caller auth.Caller, in *auditInput) (*auditAnswer, error) {
	if d.Audits == nil {
		return nil, unsupported("audit log")
	}
	q := AuditQuery{
		Account: in.Account, Kind: in.Kind, Name: in.Name, Who: in.Who,
		Since: in.Since.at(time.Now()), Until: in.Until.at(time.Now()), Before: in.Before.id, Limit: 100,
	}
	if in.Limit != "" {
		n, err := strconv.Atoi(in.Limit)
		if err != nil || n < 1 || n > 1000 {
			return nil, runnel.Errorf(runnel.CodeInvalid, "limit=%.20s: want a number from 1 to 1000", in.Limit)
		}
		q.Limit = n
	}
	if !caller.Admin && q.Account == "" {
		q.Account = caller.Account
	}
	if !caller.Admin && !caller.Owns(q.Account) {
		return nil, runnel.Errorf(runnel.CodeDenied, "the changes of %.80q are shown to its own keys, to those of its members, and to admin keys", q.Account)
	}
	entries, more, err := d.Audits.Audit(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	out := new(auditAnswer)
	out.Body.Entries, out.Body.More = filled(entries), more
	return out, nil
}
