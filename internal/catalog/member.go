package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// kindMember is the kind of memberships; names are ORGANISATION/USER.
const kindMember = "member"

// Member is a user who is a member of an organisation, and may use what belongs
// to it as what is the user's own.
type Member struct {
	Organization, User string
	Since              time.Time
}

// memberDocument is how a membership is stored.
type memberDocument struct {
	Since time.Time `json:"since"`
}

// AddMember makes a user a member of an organisation, and says whether it was
// none before. CodeNotFound if there is no such account, CodeInvalid if the
// first is no organisation or the second is one.
func (c *Catalog) AddMember(ctx context.Context, organization, user string) (added bool, err error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	o, err := c.Account(ctx, organization)
	if err != nil {
		return false, err
	}
	u, err := c.Account(ctx, user)
	switch {
	case err != nil:
		return false, err
	case !o.Organization:
		return false, runnel.Errorf(runnel.CodeInvalid, "the account %s is no organisation: it has no members", organization)
	case u.Organization:
		return false, runnel.Errorf(runnel.CodeInvalid, "the account %s is an organisation: it cannot be a member of one", user)
	}
	name := organization + "/" + user
	if _, err := c.document(kindMember, name); err == nil {
		return false, nil
	}
	value, err := json.Marshal(memberDocument{c.now()})
	if err != nil {
		return false, fmt.Errorf("write member %q: %w", name, err)
	}
	_, err = c.commit(ctx, Document{Kind: kindMember, Name: name, Value: value})
	return err == nil, err
}

// RemoveMember ends a membership; CodeNotFound if there is none.
func (c *Catalog) RemoveMember(ctx context.Context, organization, user string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	name := organization + "/" + user
	if _, err := c.document(kindMember, name); err != nil {
		return runnel.Errorf(runnel.CodeNotFound, "%.80s is no member of %.80s", user, organization)
	}
	return c.remove(ctx, Document{Kind: kindMember, Name: name})
}

// Members returns the members of an organisation, by name.
func (c *Catalog) Members(ctx context.Context, organization string) ([]Member, error) {
	if _, err := c.Account(ctx, organization); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	var list []Member
	for _, d := range c.documents[kindMember] {
		o, user, _ := strings.Cut(d.Name, "/")
		if o != organization {
			continue
		}
		var v memberDocument
		if err := json.Unmarshal(d.Value, &v); err != nil {
			return nil, fmt.Errorf("read member %q: %w", d.Name, err)
		}
		list = append(list, Member{o, user, v.Since})
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.User, b.User) })
	return list, nil
}

// Organizations returns the names of the organisations that a user is a member
// of, sorted. The list must not be changed. It is called on requests.
func (c *Catalog) Organizations(user string) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.memberOf[user]
}

// showMember keeps lists as they are, since callers have them.
func (c *Catalog) showMember(name string) {
	organization, user, _ := strings.Cut(name, "/")
	list := append(slices.Clone(c.memberOf[user]), organization)
	slices.Sort(list)
	c.memberOf[user] = slices.Compact(list)
}

func (c *Catalog) hideMember(name string) {
	organization, user, _ := strings.Cut(name, "/")
	c.memberOf[user] = slices.DeleteFunc(slices.Clone(c.memberOf[user]), func(o string) bool { return o == organization })
	if len(c.memberOf[user]) == 0 {
		delete(c.memberOf, user)
	}
}
