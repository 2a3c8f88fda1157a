package algorithmia

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// Users and organisations, and their keys:
//
//	GET POST        /v1/users
//	GET PUT DELETE  /v1/users/{user}
//	GET POST        /v1/users/{user}/keys
//	GET             /v1/users/{user}/errors, notifications, connectors
//	GET POST        /v1/organizations
//	GET PUT DELETE  /v1/organizations/{organization}
//	GET             /v1/organizations/{organization}/errors, members
//	PUT DELETE      /v1/organizations/{organization}/members/{user}
//	GET POST        /v1/organizations/{organization}/keys
//	POST            /v1/organizations/{organization}/members/{user}/keys
//	GET             /v1/organization/types
//	POST            /v1/admin/users/{user}/keys
//
// {user} and {organization} are a name or a UUID. An admin key may all of that. A
// user's own key may read the user, and the organisations that it is a member of;
// a management key the list of its account's keys. Others are told that it is not
// theirs, whether it exists or not.
//
// Differences: names have lower-case letters (and may have hyphens); e-mail
// addresses may be used twice; errors, notifications and connectors are empty; a
// key is told once, when it is made, and lists have its mask in its place; keys of
// another server cannot be imported; types of organisations are kept and without
// effect. allow_queues, whether a key may use queues and event listeners, is ours;
// where it is not given it is as allow_algo.

// Accounts is what this part of the API wants of the server. What does not exist
// is CodeNotFound, what exists already CodeConflict.
type Accounts interface {
	// List returns all users, or all organisations, by name.
	List(ctx context.Context, organizations bool) ([]Account, error)
	// Find returns the user, or the organisation, with this name or UUID.
	Find(ctx context.Context, user string, organization bool) (Account, error)
	// Create makes a user or an organisation; Change gives one its profile.
	Create(ctx context.Context, a Account) (Account, error)
	Change(ctx context.Context, a Account) (Account, error)
	// Delete forgets an account, its keys and memberships. It is CodeConflict
	// while it owns anything else.
	Delete(ctx context.Context, name string) error
	// Members returns the names of an organisation's members. AddMember says
	// whether the user was none before.
	Members(ctx context.Context, organization string) ([]string, error)
	AddMember(ctx context.Context, organization, user string) (added bool, err error)
	RemoveMember(ctx context.Context, organization, user string) error
	// Keys returns the keys of an account, without their secrets. CreateKey makes
	// one, and returns its token.
	Keys(ctx context.Context, account string) ([]AccountKey, error)
	CreateKey(ctx context.Context, account string, k AccountKey) (made AccountKey, token string, err error)
}

// Account is a user or an organisation.
type Account struct {
	ID, Name     string
	Organization bool
	Created      time.Time
	Email        string
	FullName     string // of an organisation its label
	Company      string // of a user
	CompanyRole  string // of a user
	// Of an organisation:
	Contact, URL, Type string
}

// AccountKey is a key without its secret.
type AccountKey struct {
	ID, Account, Label string
	Type               runnel.KeyType
	Created            time.Time
	Permissions        runnel.Permissions
}

// Algorithmia's numbers of errors with accounts.
const (
	numberUserTaken           = 3003
	numberUserIncomplete      = 3005
	numberNoOrganization      = 3100
	numberOrganizationTaken   = 3101
	numberOrganizationMissing = 3102
	numberInput               = 6001
)

// userBody is a user on the wire.
type userBody struct {
	ID           string `json:"id,omitempty"`
	Username     string `json:"username"`
	Email        string `json:"email"`
	FullName     string `json:"fullname"`
	CompanyName  string `json:"company_name"`
	CompanyRole  string `json:"company_role"`
	SelfLink     string `json:"self_link"`
	ResourceType string `json:"resource_type"`
}

// organizationBody is an organisation on the wire.
type organizationBody struct {
	ID           string `json:"id,omitempty"`
	Name         string `json:"org_name"`
	Label        string `json:"org_label"`
	Contact      string `json:"org_contact_name"`
	Email        string `json:"org_email"`
	Created      string `json:"org_created_at"`
	URL          string `json:"org_url"`
	TypeID       string `json:"type_id"`
	SelfLink     string `json:"self_link"`
	ResourceType string `json:"resource_type"`
}

// memberBody is a member of an organisation on the wire.
type memberBody struct {
	Username     string `json:"username"`
	Role         string `json:"role"`
	UserLink     string `json:"user_link"`
	ResourceType string `json:"resource_type"`
}

// keyBody is a key on the wire.
type keyBody struct {
	Key         string          `json:"api_key"`
	Mask        string          `json:"api_key_mask"`
	Label       string          `json:"key_label"`
	Type        string          `json:"key_type"`
	Permissions permissionsBody `json:"permissions"`
	Created     string          `json:"created_at"`
	Username    string          `json:"username"`
}

type permissionsBody struct {
	AllowAlgo           bool     `json:"allow_algo"`
	AlgoACL             []string `json:"algo_acl"`
	AllowWebAlgo        bool     `json:"allow_web_algo"`
	RefererHost         string   `json:"referer_host,omitempty"`
	AllowData           bool     `json:"allow_data"`
	AllowDataWrite      bool     `json:"allow_data_write"`
	AllowAlgoManagement bool     `json:"allow_algo_management"`
	AllowQueues         *bool    `json:"allow_queues,omitempty"`
}

// keyTypes are the words for types of keys.
var keyTypes = map[string]runnel.KeyType{
	"AlgorithmKey": runnel.KeyStandard, "ManagementKey": runnel.KeyManagement, "PlatformAdminKey": runnel.KeyAdmin,
}

// organizationTypes are those that every server has.
var organizationTypes = []organizationType{
	{"b4b3a6a2-3f9c-5e0e-8d67-0a1c37a4a5f1", "basic"},
	{"b4b3a6a2-3f9c-5e0e-8d67-0a1c37a4a5f2", "legacy"},
	{"b4b3a6a2-3f9c-5e0e-8d67-0a1c37a4a5f3", "pro"},
}

type organizationType struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// timeText is how this API writes times: to the millisecond, in UTC.
func timeText(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func (d *Door) accountRoutes() []Route {
	const user, organization = "/v1/users/{user}", "/v1/organizations/{organization}"
	return []Route{
		{Method: "GET", Pattern: "/v1/users", Admin: true, serve: d.listUsers},
		{Method: "POST", Pattern: "/v1/users", Admin: true, serve: d.createUser},
		{Method: "GET", Pattern: user, serve: d.findUser},
		{Method: "PUT", Pattern: user, Admin: true, serve: d.changeUser},
		{Method: "DELETE", Pattern: user, Admin: true, serve: d.deleteUser},
		{Method: "GET", Pattern: user + "/keys", serve: d.listUserKeys},
		{Method: "POST", Pattern: user + "/keys", Admin: true, serve: d.createUserKey},
		{Method: "POST", Pattern: "/v1/admin" + user[len("/v1"):] + "/keys", Admin: true, serve: d.createUserKey},
		{Method: "GET", Pattern: user + "/errors", serve: d.nothingOfUser},
		{Method: "GET", Pattern: user + "/notifications", serve: d.nothingOfUser},
		{Method: "GET", Pattern: user + "/connectors", serve: d.nothingOfUser},
		{Method: "GET", Pattern: "/v1/organizations", Admin: true, serve: d.listOrganizations},
		{Method: "POST", Pattern: "/v1/organizations", Admin: true, serve: d.createOrganization},
		{Method: "GET", Pattern: organization, serve: d.findOrganization},
		{Method: "PUT", Pattern: organization, Admin: true, serve: d.changeOrganization},
		{Method: "DELETE", Pattern: organization, Admin: true, serve: d.deleteOrganization},
		{Method: "GET", Pattern: organization + "/errors", serve: d.nothingOfOrganization},
		{Method: "GET", Pattern: organization + "/members", serve: d.listMembers},
		{Method: "PUT", Pattern: organization + "/members/{user}", Admin: true, serve: d.addMember},
		{Method: "DELETE", Pattern: organization + "/members/{user}", Admin: true, serve: d.removeMember},
		{Method: "GET", Pattern: organization + "/keys", serve: d.listOrganizationKeys},
		{Method: "POST", Pattern: organization + "/keys", Admin: true, serve: d.createOrganizationKey},
		{Method: "POST", Pattern: organization + "/members/{user}/keys", Admin: true, serve: d.createMemberKey},
		{Method: "GET", Pattern: "/v1/organization/types", serve: d.listOrganizationTypes},
	}
}

// user returns the user of the path, and organization the organisation, if the
// caller may read it.
func (d *Door) user(r *request) (Account, error) { return d.account(r, "user", false) }

func (d *Door) organization(r *request) (Account, error) {
	return d.account(r, "organization", true)
}

func (d *Door) account(r *request, at string, organization bool) (Account, error) {
	if d.Accounts == nil {
		return Account{}, unsupported("accounts")
	}
	a, err := d.Accounts.Find(r.Context(), r.value(at), organization)
	switch code := runnel.CodeOf(err); {
	case err == nil && r.caller.Owns(a.Name):
		return a, nil
	case err != nil && code != runnel.CodeNotFound:
		return Account{}, fmt.Errorf("find the account: %w", err)
	case err != nil && r.caller.Admin:
		return Account{}, fault(http.StatusNotFound, numberOf(organization, numberUserUnknown, numberNoOrganization), err)
	}
	return Account{}, runnel.Errorf(runnel.CodeDenied, "%.80q is not this key's account", r.value(at))
}

func numberOf(organization bool, ofUser, ofOrganization int) int {
	if organization {
		return ofOrganization
	}
	return ofUser
}

// accountFailed gives the errors of changes their numbers.
func accountFailed(err error, organization bool) error {
	switch runnel.CodeOf(err) {
	case runnel.CodeNotFound:
		return fault(http.StatusNotFound, numberOf(organization, numberUserUnknown, numberNoOrganization), err)
	case runnel.CodeConflict:
		return fault(http.StatusConflict, numberOf(organization, numberUserTaken, numberOrganizationTaken), err)
	case runnel.CodeInvalid:
		return fault(http.StatusBadRequest, numberInput, err)
	}
	return err
}

func (d *Door) listUsers(w http.ResponseWriter, r *request) error { return d.listAccounts(w, r, false) }

func (d *Door) listOrganizations(w http.ResponseWriter, r *request) error {
	return d.listAccounts(w, r, true)
}

func (d *Door) listAccounts(w http.ResponseWriter, r *request, organizations bool) error {
	if d.Accounts == nil {
		return unsupported("accounts")
	}
	all, err := d.Accounts.List(r.Context(), organizations)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	kind := "user"
	if organizations {
		kind = "organization"
	}
	page, err := paged(d, r, kind, all, lowestFirst, func(a Account) string { return a.Name })
	if err != nil {
		return err
	}
	out := pageOf[any]{Marker: page.Marker, NextLink: page.NextLink, Results: []any{}}
	for _, a := range page.Results {
		out.Results = append(out.Results, d.accountBody(r, a))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// accountBody is an account on the wire.
func (d *Door) accountBody(r *request, a Account) any {
	if a.Organization {
		return organizationBody{
			ID: a.ID, Name: a.Name, Label: a.FullName, Contact: a.Contact, Email: a.Email, Created: timeText(a.Created), URL: a.URL,
			TypeID: cmp.Or(a.Type, organizationTypes[0].ID), SelfLink: d.base(r) + "/v1/organizations/" + a.Name, ResourceType: "organization",
		}
	}
	return userBody{
		ID: a.ID, Username: a.Name, Email: a.Email, FullName: a.FullName, CompanyName: a.Company, CompanyRole: a.CompanyRole,
		SelfLink: d.base(r) + "/v1/users/" + a.Name, ResourceType: "user",
	}
}

// missing refuses a request that lacks fields.
func missing(number int, fields ...string) error {
	var names []string
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] == "" {
			names = append(names, fields[i])
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fault(http.StatusBadRequest, number, runnel.Errorf(runnel.CodeInvalid, "missing: %s", strings.Join(names, ", ")))
}

func (d *Door) createUser(w http.ResponseWriter, r *request) error {
	if d.Accounts == nil {
		return unsupported("accounts")
	}
	var in userBody
	if err := decode(r.body, &in); err != nil {
		return err
	}
	if err := missing(numberUserIncomplete, "username", in.Username, "email", in.Email); err != nil {
		return err
	}
	a, err := d.Accounts.Create(r.Context(), Account{Name: in.Username, Email: in.Email, FullName: in.FullName, Company: in.CompanyName, CompanyRole: in.CompanyRole})
	if err != nil {
		return accountFailed(err, false)
	}
	writeJSON(w, http.StatusOK, d.accountBody(r, a))
	return nil
}

func (d *Door) findUser(w http.ResponseWriter, r *request) error {
	a, err := d.user(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, d.accountBody(r, a))
	return nil
}

func (d *Door) changeUser(w http.ResponseWriter, r *request) error {
	a, err := d.user(r)
	if err != nil {
		return err
	}
	in := userBody{Username: a.Name, Email: a.Email, FullName: a.FullName, CompanyName: a.Company, CompanyRole: a.CompanyRole}
	if err := decode(r.body, &in); err != nil {
		return err
	}
	if in.Username != a.Name {
		return fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "username: the name of an account does not change"))
	}
	a.Email, a.FullName, a.Company, a.CompanyRole = in.Email, in.FullName, in.CompanyName, in.CompanyRole
	if a, err = d.Accounts.Change(r.Context(), a); err != nil {
		return accountFailed(err, false)
	}
	writeJSON(w, http.StatusOK, d.accountBody(r, a))
	return nil
}

func (d *Door) deleteUser(w http.ResponseWriter, r *request) error {
	a, err := d.user(r)
	return d.deleteAccount(w, r, a, err)
}

func (d *Door) deleteOrganization(w http.ResponseWriter, r *request) error {
	a, err := d.organization(r)
	return d.deleteAccount(w, r, a, err)
}

func (d *Door) deleteAccount(w http.ResponseWriter, r *request, a Account, err error) error {
	if err != nil {
		return err
	}
	if err := d.Accounts.Delete(r.Context(), a.Name); err != nil {
		if runnel.CodeOf(err) == runnel.CodeConflict {
			return err
		}
		return accountFailed(err, a.Organization)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// nothingOfUser answers with an empty list, also for a user that there is not.
func (d *Door) nothingOfUser(w http.ResponseWriter, r *request) error {
	if _, err := d.user(r); err != nil && !(r.caller.Admin && runnel.CodeOf(err) == runnel.CodeNotFound) {
		return err
	}
	writeJSON(w, http.StatusOK, []any{})
	return nil
}

func (d *Door) nothingOfOrganization(w http.ResponseWriter, r *request) error {
	if _, err := d.organization(r); err != nil && !(r.caller.Admin && runnel.CodeOf(err) == runnel.CodeNotFound) {
		return err
	}
	writeJSON(w, http.StatusOK, []any{})
	return nil
}

// typeOf returns the id of a type of organisations, by id or name.
func typeOf(text string) (string, error) {
	if text == "" {
		return organizationTypes[0].ID, nil
	}
	i := slices.IndexFunc(organizationTypes, func(t organizationType) bool { return t.Name == text || t.ID == strings.ToLower(text) })
	if i < 0 {
		return "", fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "type_id: %.80q is none of the types that GET /v1/organization/types lists", text))
	}
	return organizationTypes[i].ID, nil
}

func (d *Door) createOrganization(w http.ResponseWriter, r *request) error {
	if d.Accounts == nil {
		return unsupported("accounts")
	}
	var in organizationBody
	if err := decode(r.body, &in); err != nil {
		return err
	}
	if err := missing(numberOrganizationMissing, "org_name", in.Name, "org_label", in.Label, "org_contact_name", in.Contact, "org_email", in.Email); err != nil {
		return err
	}
	kind, err := typeOf(in.TypeID)
	if err != nil {
		return err
	}
	a, err := d.Accounts.Create(r.Context(), Account{Organization: true, Name: in.Name, FullName: in.Label, Contact: in.Contact, Email: in.Email, URL: in.URL, Type: kind})
	if err != nil {
		return accountFailed(err, true)
	}
	// Whoever makes an organisation is a member of it; an organisation's key, and
	// who needs no key, cannot be.
	if _, err := d.Accounts.AddMember(r.Context(), a.Name, r.caller.Account); err != nil && runnel.CodeOf(err) != runnel.CodeInvalid && runnel.CodeOf(err) != runnel.CodeNotFound {
		return accountFailed(err, true)
	}
	writeJSON(w, http.StatusOK, d.accountBody(r, a))
	return nil
}

func (d *Door) findOrganization(w http.ResponseWriter, r *request) error {
	a, err := d.organization(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, d.accountBody(r, a))
	return nil
}

func (d *Door) changeOrganization(w http.ResponseWriter, r *request) error {
	a, err := d.organization(r)
	if err != nil {
		return err
	}
	in := organizationBody{Name: a.Name, Label: a.FullName, Contact: a.Contact, Email: a.Email, URL: a.URL, TypeID: a.Type}
	if err := decode(r.body, &in); err != nil {
		return err
	}
	if in.Name != a.Name {
		return fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "org_name: the name of an account does not change"))
	}
	if a.Type, err = typeOf(in.TypeID); err != nil {
		return err
	}
	a.FullName, a.Contact, a.Email, a.URL = in.Label, in.Contact, in.Email, in.URL
	if _, err := d.Accounts.Change(r.Context(), a); err != nil {
		return accountFailed(err, true)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Door) listMembers(w http.ResponseWriter, r *request) error {
	a, err := d.organization(r)
	if err != nil {
		return err
	}
	names, err := d.Accounts.Members(r.Context(), a.Name)
	if err != nil {
		return fmt.Errorf("list members: %w", err)
	}
	page, err := paged(d, r, "member", names, lowestFirst, func(name string) string { return name })
	if err != nil {
		return err
	}
	out := pageOf[memberBody]{Marker: page.Marker, NextLink: page.NextLink, Results: []memberBody{}}
	for _, name := range page.Results {
		out.Results = append(out.Results, memberBody{name, "member", d.base(r) + "/v1/users/" + name, "organization_member"})
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (d *Door) addMember(w http.ResponseWriter, r *request) error {
	a, u, err := d.membership(r)
	if err != nil {
		return err
	}
	added, err := d.Accounts.AddMember(r.Context(), a.Name, u.Name)
	switch {
	case err != nil:
		return accountFailed(err, true)
	case added:
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusOK)
	}
	return nil
}

func (d *Door) membership(r *request) (a, u Account, err error) {
	if a, err = d.organization(r); err == nil {
		u, err = d.user(r)
	}
	return a, u, err
}

func (d *Door) removeMember(w http.ResponseWriter, r *request) error {
	a, u, err := d.membership(r)
	if err != nil {
		return err
	}
	if err := d.Accounts.RemoveMember(r.Context(), a.Name, u.Name); err != nil {
		return accountFailed(err, false)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Door) listUserKeys(w http.ResponseWriter, r *request) error {
	a, err := d.user(r)
	return d.listKeys(w, r, a, err)
}

func (d *Door) listOrganizationKeys(w http.ResponseWriter, r *request) error {
	a, err := d.organization(r)
	return d.listKeys(w, r, a, err)
}

func (d *Door) listKeys(w http.ResponseWriter, r *request, a Account, err error) error {
	if err != nil {
		return err
	}
	if !r.caller.Manages(a.Name) || r.caller.Function != "" {
		return runnel.Errorf(runnel.CodeDenied, "this needs a management key of %s, or an admin key", a.Name)
	}
	keys, err := d.Accounts.Keys(r.Context(), a.Name)
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	out := make([]keyBody, len(keys))
	for i, k := range keys {
		out[i] = keyOf(k, "")
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// keyOf is a key on the wire: with its token, or with its mask in the place of
// that.
func keyOf(k AccountKey, token string) keyBody {
	p := k.Permissions
	mask := k.ID + ".****"
	out := keyBody{
		Key: cmp.Or(token, mask), Mask: mask, Label: k.Label, Created: timeText(k.Created), Username: k.Account,
		Permissions: permissionsBody{
			AllowAlgo: len(p.Algorithms) > 0, AlgoACL: append([]string{}, p.Algorithms...), AllowWebAlgo: p.Web, RefererHost: strings.Join(p.Referers, ","),
			AllowData: p.Data, AllowDataWrite: p.DataWrite, AllowAlgoManagement: p.Management, AllowQueues: &p.Queues,
		},
	}
	for word, kind := range keyTypes {
		if kind == k.Type {
			out.Type = word
		}
	}
	return out
}

func (d *Door) createUserKey(w http.ResponseWriter, r *request) error {
	a, err := d.user(r)
	return d.createKey(w, r, a, err, http.StatusOK)
}

func (d *Door) createOrganizationKey(w http.ResponseWriter, r *request) error {
	a, err := d.organization(r)
	return d.createKey(w, r, a, err, http.StatusOK)
}

func (d *Door) createMemberKey(w http.ResponseWriter, r *request) error {
	a, u, err := d.membership(r)
	if err == nil {
		var members []string
		if members, err = d.Accounts.Members(r.Context(), a.Name); err == nil && !slices.Contains(members, u.Name) {
			err = fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "%s is no member of %s", u.Name, a.Name))
		}
	}
	return d.createKey(w, r, a, err, http.StatusCreated)
}

func (d *Door) createKey(w http.ResponseWriter, r *request, a Account, err error, status int) error {
	if err != nil {
		return err
	}
	in := struct {
		Key         json.RawMessage `json:"api_key"`
		Label       string          `json:"key_label"`
		Type        string          `json:"key_type"`
		Permissions permissionsBody `json:"permissions"`
	}{Type: "AlgorithmKey"}
	if err := decode(r.body, &in); err != nil {
		return err
	}
	kind, ok := keyTypes[in.Type]
	switch {
	case len(in.Key) > 0:
		return fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "api_key: keys of another server cannot be imported: leave it out, and a key is made"))
	case !ok:
		return fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "key_type: %.40q is not AlgorithmKey, ManagementKey or PlatformAdminKey", in.Type))
	}
	p, err := in.Permissions.permissions()
	if err != nil {
		return err
	}
	p.Management = p.Management || kind == runnel.KeyManagement
	k, token, err := d.Accounts.CreateKey(r.Context(), a.Name, AccountKey{Account: a.Name, Label: in.Label, Type: kind, Permissions: p})
	if err != nil {
		return accountFailed(err, a.Organization)
	}
	writeJSON(w, status, keyOf(k, token))
	return nil
}

// permissions returns what a key may do.
func (b permissionsBody) permissions() (runnel.Permissions, error) {
	p := runnel.Permissions{Web: b.AllowWebAlgo, Data: b.AllowData, DataWrite: b.AllowDataWrite, Management: b.AllowAlgoManagement, Queues: b.AllowAlgo}
	if b.AllowQueues != nil {
		p.Queues = *b.AllowQueues
	}
	for _, host := range strings.Split(b.RefererHost, ",") {
		if host = strings.TrimSpace(host); host != "" {
			p.Referers = append(p.Referers, host)
		}
	}
	if len(b.AlgoACL) > 1000 || len(b.RefererHost) > 4096 {
		return p, fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "permissions: want at most 1000 algo_acl, and 4096 bytes of referer_host"))
	}
	for _, pattern := range b.AlgoACL {
		rest, ok := strings.CutPrefix(pattern, "algo://")
		owner, name, full := strings.Cut(rest, "/")
		if !ok || rest != "*" && (!full || owner == "" || name == "" || strings.ContainsAny(owner, "*/ ") || name != "*" && strings.ContainsAny(name, "*/ ")) {
			return p, fault(http.StatusBadRequest, numberInput, runnel.Errorf(runnel.CodeInvalid, "algo_acl: %.80q is not algo://*, algo://OWNER/* or algo://OWNER/NAME", pattern))
		}
		if b.AllowAlgo {
			p.Algorithms = append(p.Algorithms, pattern)
		}
	}
	return p, nil
}

func (d *Door) listOrganizationTypes(w http.ResponseWriter, _ *request) error {
	writeJSON(w, http.StatusOK, organizationTypes)
	return nil
}
