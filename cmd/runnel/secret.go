package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/runnel-io/runnel"
)

// maxSecret is how long a secret may be: the server's limit.
const maxSecret = 64 << 10

func newSecretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Set, list and remove the secrets of a function",
	}
	cmd.AddCommand(newSecretSetCommand(), newSecretLsCommand(), newSecretRmCommand())
	return cmd
}

func newSecretSetCommand() *cobra.Command {
	var from, description string
	cmd := &cobra.Command{
		Use:   "set NAME KEY",
		Short: "Set a secret of a function, which its workers have as environment variable KEY",
		Long: `Set a secret of a function: an environment variable of its workers that no command
and no API shows, that is sealed on the server's disk, and masked in what the
function logs. It goes over env in the spec file. It needs an admin key.

The value is read from standard input, at a terminal without showing it; a
newline at its end is left out. It is never an argument, which other users of the
machine can see. --from-file takes the bytes of a file as they are.

Running workers are replaced, the new ones before the old ones end, and no call
fails. Where the code does not load with the value, the secret is kept, the old
workers go on, and the exit status is 1. A function that is not deployed yet is
called OWNER/NAME.`,
		Example: `  runnel secret set resize API_TOKEN
  pass show api-token | runnel secret set resize API_TOKEN --description 'of the image store'
  runnel secret set default/resize TLS_KEY --from-file key.pem`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			path, err := c.secretPath(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			value, err := secretValue(ctx, from, cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			body := map[string]string{"value": value}
			if description != "" {
				body["description"] = description
			}
			if err := c.do(ctx, "PUT", path, body, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "set secret %s of %s\n", args[1], args[0])
			return err
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&from, "from-file", "", "`file` that holds the value, - for standard input")
	cmd.Flags().StringVar(&description, "description", "", "what it is, for secret ls")
	return cmd
}

func newSecretLsCommand() *cobra.Command {
	var output *string
	cmd := &cobra.Command{
		Use:     "ls NAME",
		Aliases: []string{"list"},
		Short:   "List the secrets of a function, without their values",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inJSON, err := asJSON(*output, "table")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			path, err := c.path(cmd.Context(), functionKind, args[0])
			if err != nil {
				return err
			}
			var answer struct {
				Secrets []secretInfo `json:"secrets"`
			}
			if err := c.do(cmd.Context(), "GET", path+"/secrets", nil, &answer); err != nil {
				return c.suggest(cmd.Context(), functionKind, args[0], err)
			}
			if inJSON {
				for _, s := range answer.Secrets {
					if err := printJSON(cmd.OutOrStdout(), s); err != nil {
						return err
					}
				}
				return nil
			}
			if len(answer.Secrets) == 0 {
				_, err := fmt.Fprintf(cmd.ErrOrStderr(), "no secrets of %s\n", args[0])
				return err
			}
			var t table
			t.row("NAME", "UPDATED", "DESCRIPTION")
			for _, s := range answer.Secrets {
				t.row(s.Name, s.Updated.Local().Format(time.DateTime), s.Description)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "table or json")
	return cmd
}

func newSecretRmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NAME KEY",
		Aliases: []string{"delete"},
		Short:   "Remove a secret of a function",
		Long:    "Remove a secret of a function. Running workers are replaced, as by set.",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			path, err := c.secretPath(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if err := c.do(cmd.Context(), "DELETE", path, nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed secret %s of %s\n", args[1], args[0])
			return err
		},
	}
	addClientFlags(cmd)
	return cmd
}

// secretInfo is what secret ls reads and prints.
type secretInfo struct {
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Updated     time.Time `json:"updated"`
}

// secretPath returns the path of a secret of a function.
func (c *client) secretPath(ctx context.Context, function, name string) (string, error) {
	path, err := c.path(ctx, functionKind, function)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return "", fmt.Errorf("%w; one that is not deployed yet is called OWNER/NAME", err)
	}
	return path + "/secrets/" + url.PathEscape(name), err
}

// secretValue reads the value of a secret.
func secretValue(ctx context.Context, from string, in io.Reader, prompt io.Writer) (string, error) {
	trim := false
	if from != "" && from != "-" {
		f, err := os.Open(from)
		if err != nil {
			return "", fmt.Errorf("read the secret: %w", err)
		}
		defer f.Close()
		in = f
	} else {
		trim = true
		if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return typed(ctx, f, prompt)
		}
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSecret+2))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	value := string(text)
	if trim {
		value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	}
	switch {
	case value == "":
		return "", errors.New("the secret is empty")
	case len(value) > maxSecret:
		return "", runnel.Errorf(runnel.CodeTooLarge, "the secret is over %d KiB", maxSecret>>10)
	}
	return value, nil
}

// typed reads a line that the terminal does not show.
func typed(ctx context.Context, in *os.File, prompt io.Writer) (string, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	fmt.Fprint(prompt, "value (it is not shown): ")
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		read <- result{text, err}
	}()
	select {
	case r := <-read:
		fmt.Fprintln(prompt)
		if r.err == nil && len(r.text) == 0 {
			r.err = errors.New("the secret is empty")
		}
		return string(r.text), r.err
	case <-ctx.Done():
		// The read goes on; the terminal must not stay as it is.
		fmt.Fprintln(prompt)
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
