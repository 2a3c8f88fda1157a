package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

const (
	redrivePage = 100 // messages in one call, at most
	// progressEvery is how often a redrive says how far it is.
	progressEvery = 2 * time.Second
)

func newDLQRedriveCommand() *cobra.Command {
	r := redriver{}
	var rate string
	var all bool
	cmd := &cobra.Command{
		Use:   "redrive QUEUE --id ID... | --filter EXPR | --all",
		Short: "Send dead letters again, to where they came from",
		Long: `Move dead letters back to the queue that each came from, or to another one. Each
is moved in one step: none is lost, and none is there twice. Those that fail
again come back to the dead letters; a redrive does not move them a second time.

` + filterHelp + `

Progress goes to standard error, the sum to standard output. The exit status is 1
if some could not be moved: they stay where they are.`,
		Example: `  runnel dlq redrive resize-images --all --rate 50/s
  runnel dlq redrive images-dead --filter 'type == "timeout"'
  runnel dlq redrive images-dead --id 41 --id 42 --to images-slow`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ways := 0
			for _, given := range []bool{len(r.ids) > 0, cmd.Flags().Changed("filter"), all} {
				if given {
					ways++
				}
			}
			if ways != 1 || !all && r.filter == "" && len(r.ids) == 0 {
				return &usageError{"which messages? Say one of --id ID, --filter EXPR and --all"}
			}
			var err error
			if r.every, err = parseRate(rate); err != nil {
				return err
			}
			if r.client, err = newClient(cmd); err != nil {
				return err
			}
			if r.queue, err = r.client.deadLetterQueue(cmd.Context(), args[0]); err != nil {
				return err
			}
			r.to = strings.TrimPrefix(r.to, "queue:")
			r.errOut = cmd.ErrOrStderr()
			err = r.run(cmd.Context())
			fmt.Fprintf(cmd.OutOrStdout(), "moved %d, failed %d\n", r.moved, r.failed)
			if err == nil && r.failed > 0 {
				err = fmt.Errorf("%s not moved", plural(r.failed, "message"))
			}
			return err
		},
	}
	addClientFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&r.ids, "id", nil, "move the message of this `ID`, or at this position; may be repeated")
	f.StringVar(&r.filter, "filter", "", "move those for which `EXPR` is true")
	f.BoolVar(&all, "all", false, "move all that are there now")
	f.StringVar(&r.to, "to", "", "`queue` to move to (default: the one that each came from)")
	f.StringVar(&rate, "rate", "", "move so many at most, as in `50/s` or 100/m (default: no limit)")
	return cmd
}

// parseRate returns the time from one message to the next; 0 means no limit.
func parseRate(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	per := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || per == 0 || n <= 0 || n > 1e6 {
		return 0, &usageError{fmt.Sprintf("--rate %q is not a rate: want for example 50/s, or 100/m", text)}
	}
	return max(1, time.Duration(float64(per)/n)), nil
}

// redriver moves messages of one dead-letter queue.
type redriver struct {
	client        *client
	queue, to     string
	ids           []string
	filter        string
	every         time.Duration // from one message to the next; 0: no limit
	errOut        io.Writer
	moved, failed int
}

// run finds the messages first and moves them then: what fails again is behind
// them, and is not moved once more.
func (r *redriver) run(ctx context.Context) error {
	positions, err := r.find(ctx)
	if err != nil {
		return err
	}
	size := redrivePage
	if r.every > 0 {
		// Ten calls in a second, or one for each message.
		size = min(max(int(time.Second/10/r.every), 1), redrivePage)
	}
	told := time.Now()
	next := told // when the next call may be
	for rest := positions; len(rest) > 0; {
		if err := waitUntil(ctx, next); err != nil {
			return err
		}
		page := rest[:min(size, len(rest))]
		rest = rest[len(page):]
		next = time.Now().Add(time.Duration(len(page)) * r.every)
		if err := r.move(ctx, page); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			fmt.Fprintf(r.errOut, "%d of %d\n", len(positions)-len(rest), len(positions))
		}
	}
	if len(positions) == 0 && r.failed == 0 {
		fmt.Fprintf(r.errOut, "no such dead letters in %s\n", r.queue)
	}
	return nil
}

// waitUntil returns when it is time, or with the cause of ctx's end.
func waitUntil(ctx context.Context, at time.Time) error {
	wait := time.Until(at)
	if wait <= 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// find returns the positions of the messages to move.
func (r *redriver) find(ctx context.Context) ([]int64, error) {
	if len(r.ids) == 0 {
		return r.matching(ctx, r.filter, nil)
	}
	var out []int64
	var names []string
	for _, id := range r.ids {
		if position, err := strconv.ParseInt(id, 10, 64); err == nil && position >= 0 {
			out = append(out, position)
		} else {
			names = append(names, id)
		}
	}
	const most = 15 // ids in one filter: the server takes 1,000 bytes
	for len(names) > 0 {
		page := names[:min(most, len(names))]
		names = names[len(page):]
		list, err := json.Marshal(page)
		if err != nil {
			return nil, fmt.Errorf("encode ids: %w", err)
		}
		wanted := make(map[string]bool, len(page))
		for _, id := range page {
			wanted[id] = true
		}
		found, err := r.matching(ctx, "id in "+string(list), wanted)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
		for _, id := range page {
			if wanted[id] {
				r.fail(id, "it is not there: runnel dlq ls "+r.queue+" lists what is")
			}
		}
	}
	return out, nil
}

// matching returns the positions of the messages that filter passes. Where
// wanted is not nil it takes what it finds out of it, and ends when it is
// empty.
func (r *redriver) matching(ctx context.Context, filter string, wanted map[string]bool) ([]int64, error) {
	var out []int64
	told := time.Now()
	err := r.client.filterDeadLetters(ctx, r.errOut, r.queue, filter, nil, peekPage, func(raw json.RawMessage) (bool, error) {
		var m struct {
			Position int64  `json:"position"`
			ID       string `json:"id"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return false, fmt.Errorf("read the answer: %w", err)
		}
		out = append(out, m.Position)
		delete(wanted, m.ID)
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			fmt.Fprintf(r.errOut, "%d found\n", len(out))
		}
		return wanted == nil || len(wanted) > 0, nil
	})
	return out, err
}

// move moves a page.
func (r *redriver) move(ctx context.Context, page []int64) error {
	in := struct {
		Positions []int64 `json:"positions"`
		To        string  `json:"to,omitempty"`
	}{page, r.to}
	var answer struct {
		Moved  []int64
		Failed []struct {
			Position int64
			Message  string
		}
	}
	err := r.client.do(ctx, "POST", "/api/v1/dead-letters/"+url.PathEscape(r.queue)+"/redrive", in, &answer)
	if r.to != "" && runnel.CodeOf(err) == runnel.CodeNotFound {
		return r.client.suggest(ctx, queueKind, r.to, err)
	}
	if err != nil {
		return err
	}
	r.moved += len(answer.Moved)
	for _, f := range answer.Failed {
		r.fail(strconv.FormatInt(f.Position, 10), f.Message)
	}
	return nil
}

func (r *redriver) fail(which, why string) {
	r.failed++
	fmt.Fprintf(r.errOut, "%s is not moved: %s\n", which, oneLine(why))
}
