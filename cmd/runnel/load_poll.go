package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// errPolled ends the polls when they have lasted long enough.
var errPolled = errors.New("the polls have lasted long enough")

// poll has consumers wait for messages that do not come. A poll that has begun
// ends with the run.
func (r *loadRun) poll(ctx context.Context, f *figures) error {
	const wait = 20 * time.Second // the most that SQS has
	waiting, stop := context.WithTimeoutCause(ctx, r.opt.duration, errPolled)
	defer stop()
	g, waiting := errgroup.WithContext(waiting)
	for range r.opt.consumers {
		g.Go(func() error {
			w := r.target.worker()
			for {
				ts, err := w.receive(waiting, 1, wait, nil)
				switch {
				case waiting.Err() != nil && errors.Is(context.Cause(waiting), errPolled):
					return nil
				case err != nil:
					return fmt.Errorf("receive: %w", err)
				case len(ts) > 0:
					return errors.New("receive: a message came, and none was sent")
				}
				r.received.Add(1)
			}
		})
	}
	err := g.Wait()
	f.Polls = r.received.Load()
	return err
}
