package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// stream answers with server-sent events until f returns, the client goes or
// the server stops, which ends f's context. what names the stream.
func (d *Door) stream(ctx context.Context, w http.ResponseWriter, what string, f func(ctx context.Context, event func(id, kind string, v any) error) error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	w.Header().Set("Content-Type", mediaEvents)
	w.WriteHeader(http.StatusOK)
	events := &eventWriter{w: w, rc: http.NewResponseController(w)}
	if events.write(": runnel "+what+"\n\n") != nil {
		return
	}
	var beats sync.WaitGroup
	beats.Go(func() {
		defer end()
		ticker := time.NewTicker(heartbeat)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-d.Stopping:
				return
			case <-ticker.C:
				if events.write(": alive\n\n") != nil {
					return
				}
			}
		}
	})
	if err := f(ctx, events.event); err != nil && ctx.Err() == nil && !errors.Is(err, errGone) {
		d.Log.Error("stream of events ended", "stream", what, "err", err)
	}
	end()
	beats.Wait()
}

// errGone says that a client takes no more.
var errGone = errors.New("the client is gone")

// eventWriter writes to one client from two goroutines.
type eventWriter struct {
	mu sync.Mutex // held for one write
	w  io.Writer
	rc *http.ResponseController
}

// event writes one event; id may be empty.
func (e *eventWriter) event(id, kind string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return e.write(id + "event: " + kind + "\ndata: " + string(text) + "\n\n")
}

func (e *eventWriter) write(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Not every ResponseWriter has deadlines.
	_ = e.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := io.WriteString(e.w, text); err != nil {
		return errGone
	}
	if err := e.rc.Flush(); err != nil {
		return errGone
	}
	return nil
}
