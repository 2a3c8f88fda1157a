package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/spec"
	"github.com/runnel-io/runnel/server"
)

// keyInfo is a key as the server describes it.
type keyInfo struct {
	ID          string             `json:"id"`
	Account     string             `json:"account"`
	Type        string             `json:"type"`
	Label       string             `json:"label"`
	Permissions runnel.Permissions `json:"permissions"`
	Created     time.Time          `json:"created"`
	Expires     time.Time          `json:"expires,omitzero"`
	Token       string             `json:"token,omitempty"`
}

func newKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make, list, rotate and delete API keys"}
	cmd.AddCommand(newKeyCreateCommand(), newKeyLsCommand(), newKeyRotateCommand(), newKeyDeleteCommand())
	return cmd
}

func newKeyCreateCommand() *cobra.Command {
	var account, label, kind, data, dir, keyFile, expires string
	var algorithms, referers []string
	var admin, noQueues, web bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an API key, and print it once",
		Long: `Make an API key of an account, and print its token, which nothing shows again.

What the key may do is said by flags: a standard key calls functions, and uses
queues and files; a management key changes functions of the account, too; an admin
key acts for the whole server. docs/accounts.md has the table.

With --dir it makes an admin key of the account default in a data directory whose
server does not run: the way in where all admin keys are lost.`,
		Example: `  runnel key create --account acme --label phone --data read --no-queues
  runnel key create --account acme --type management
  runnel key create --dir runnel-data --admin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			if dir != "" {
				if !admin && kind != "admin" {
					return &usageError{"--dir makes an admin key: say --admin"}
				}
				if _, err := os.Stat(dir); err != nil {
					return fmt.Errorf("there is no data directory to make a key in: %w", err)
				}
				k, err := server.NewAdminKey(ctx, server.Config{Dir: dir, SecretKeyFile: keyFile, Log: slog.New(slog.DiscardHandler)}, label)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(out, k.Token)
				return err
			}
			may := runnel.Permissions{Algorithms: algorithms, Web: web, Referers: referers, Queues: !noQueues}
			switch data {
			case "none":
			case "read":
				may.Data = true
			case "write":
				may.Data, may.DataWrite = true, true
			default:
				return &usageError{fmt.Sprintf("--data %s: want none, read or write", data)}
			}
			if admin {
				kind = "admin"
			}
			switch kind {
			case "standard", "admin":
			case "management":
				may.Management = true
			default:
				return &usageError{fmt.Sprintf("--type %s: want standard, management or admin", kind)}
			}
			body := map[string]any{"label": label, "permissions": may, "admin": kind == "admin"}
			if expires != "" {
				after, err := spec.ParseDuration(expires)
				if err != nil || after <= 0 {
					return &usageError{fmt.Sprintf("--expires %s: want a duration such as 30d", expires)}
				}
				body["expires"] = time.Now().Add(after).UTC()
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var k keyInfo
			if err := c.do(ctx, "POST", "/api/v1/accounts/"+url.PathEscape(account)+"/keys", body, &k); err != nil {
				return err
			}
			_, err = fmt.Fprintln(out, k.Token)
			return err
		},
	}
	addClientFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&account, "account", "default", "whose key it is")
	f.StringVar(&label, "label", "", "what it is for, for people")
	f.StringVar(&kind, "type", "standard", "standard, management or admin")
	f.BoolVar(&admin, "admin", false, "the same as --type admin")
	f.StringSliceVar(&algorithms, "algorithms", []string{"algo://*"}, "functions that it may call: algo://*, algo://OWNER/*, algo://OWNER/NAME")
	f.StringVar(&data, "data", "write", "none, read or write: what it may do with files")
	f.BoolVar(&noQueues, "no-queues", false, "it may not use queues and flows")
	f.BoolVar(&web, "web", true, "it may be used from web pages")
	f.StringSliceVar(&referers, "referers", nil, "of web pages, only these hosts: example.com, *.example.com")
	f.StringVar(&expires, "expires", "", "how long it is good: 30d (default: for ever)")
	f.StringVar(&dir, "dir", "", "data `directory` of a server that does not run, to make an admin key in")
	f.StringVar(&keyFile, "secret-key-file", "", "with --dir: the `file` that serve has, if it has one")
	return cmd
}

func newKeyLsCommand() *cobra.Command {
	var output *string
	var account string
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the keys of an account, without their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inJSON, err := asJSON(*output, "table")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var answer struct {
				Keys []keyInfo `json:"keys"`
			}
			if err := c.do(cmd.Context(), "GET", "/api/v1/accounts/"+url.PathEscape(account)+"/keys", nil, &answer); err != nil {
				return err
			}
			var t table
			t.row("ID", "TYPE", "LABEL", "CREATED", "EXPIRES")
			for _, k := range answer.Keys {
				if inJSON {
					if err := printJSON(cmd.OutOrStdout(), k); err != nil {
						return err
					}
					continue
				}
				ends := "never"
				if !k.Expires.IsZero() {
					ends = k.Expires.Local().Format(time.DateTime)
				}
				t.row(k.ID, k.Type, k.Label, k.Created.Local().Format(time.DateTime), ends)
			}
			if inJSON {
				return nil
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "table or json")
	cmd.Flags().StringVar(&account, "account", "default", "whose keys")
	return cmd
}

func newKeyRotateCommand() *cobra.Command {
	var overlap string
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Make a key in the place of another, and print it once", Args: cobra.ExactArgs(1),
		Long: "Make a key with the account, type, label and permissions of another, which ends after the overlap.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if d, err := spec.ParseDuration(overlap); err != nil || d < 0 {
				return &usageError{fmt.Sprintf("--overlap %s: want a duration such as 24h", overlap)}
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var k keyInfo
			if err := c.do(cmd.Context(), "POST", "/api/v1/keys/"+url.PathEscape(args[0])+"/rotate", map[string]string{"overlap": overlap}, &k); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Token)
			return err
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&overlap, "overlap", "24h", "how long the old key is good; 0s: it ends at once")
	return cmd
}

func newKeyDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ID", Aliases: []string{"rm"}, Short: "Delete a key, which is refused at once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			return c.do(cmd.Context(), "DELETE", "/api/v1/keys/"+url.PathEscape(args[0]), nil, nil)
		},
	}
	addClientFlags(cmd)
	return cmd
}

func newAuditCommand() *cobra.Command {
	var output *string
	var account, kind, name, who, since string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Print who changed what, the newest first", Args: cobra.NoArgs,
		Long: "Print the last changes of accounts, keys, functions, flows and what else the server keeps.\nWith -o json each has what it was before and is after, without what is secret.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			inJSON, err := asJSON(*output, "table")
			if err != nil {
				return err
			}
			if limit < 1 || limit > 1000 {
				return &usageError{"-n: want a number from 1 to 1000"}
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			q := url.Values{"limit": {fmt.Sprint(limit)}}
			for key, value := range map[string]string{"account": account, "kind": kind, "name": name, "who": who, "since": since} {
				if value != "" {
					q.Set(key, value)
				}
			}
			var answer struct {
				Entries []map[string]any `json:"entries"`
			}
			if err := c.do(cmd.Context(), "GET", "/api/v1/audit?"+q.Encode(), nil, &answer); err != nil {
				return err
			}
			var t table
			t.row("TIME", "WHO", "ADDRESS", "ACTION", "KIND", "NAME")
			text := func(e map[string]any, names ...string) string {
				for _, name := range names {
					if s, ok := e[name].(string); ok && s != "" {
						return s
					}
				}
				return ""
			}
			for _, e := range answer.Entries {
				if inJSON {
					if err := printJSON(cmd.OutOrStdout(), e); err != nil {
						return err
					}
					continue
				}
				at, _ := time.Parse(time.RFC3339Nano, text(e, "time"))
				t.row(at.Local().Format(time.DateTime), text(e, "by", "key", "account"), text(e, "address"), text(e, "action"), text(e, "kind"), text(e, "name"))
			}
			if inJSON {
				return nil
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "table or json")
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "only what belongs to this account (default: the key's own, or all for an admin key)")
	f.StringVar(&kind, "kind", "", "only changes of this kind: account, key, member, function, flow, secret, ...")
	f.StringVar(&name, "name", "", "only changes of the thing of this name")
	f.StringVar(&who, "who", "", "only what this key, account or spec file did")
	f.StringVar(&since, "since", "", "only from this time on, or how long ago: 2h")
	f.IntVarP(&limit, "lines", "n", 100, "how many")
	return cmd
}
