package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// waitEvery is how often wait asks, and dlq show with --wait.
const waitEvery = 100 * time.Millisecond

func newWaitCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until a server is ready",
		Long: `Wait until a server answers and is ready: with a spec file, when all of it was
applied. For scripts that start a server in the background.`,
		Example: `  runnel dev -f runnel.yaml & runnel wait`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			var last error
			for {
				if last = c.isReady(ctx); last == nil {
					return nil
				}
				select {
				case <-ctx.Done():
					if cmd.Context().Err() != nil {
						return cmd.Context().Err()
					}
					return fmt.Errorf("after %s: %w", timeout, last)
				case <-time.After(waitEvery):
				}
			}
		},
	}
	addClientFlags(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "for how long")
	return cmd
}

// isReady asks once.
func (c *client) isReady(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s does not answer", c.base)
		}
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server at %s is not ready: %s", c.base, statusLine(resp.Status, text))
	}
	return nil
}
