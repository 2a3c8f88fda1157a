package wasm

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

// Variables of the environment, set by who starts the worker.
const (
	// cacheVariable is the directory of compiled modules.
	cacheVariable = "RUNNEL_WASM_CACHE"
	// memoryVariable is the limit of a module's memory, in bytes.
	memoryVariable = "RUNNEL_MEMORY"
)

// Main runs the module whose file is the one argument until its host is done
// with it, and returns the exit status. With -compile it only compiles it into
// the cache, as a build does.
func Main(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("wasm-worker", flag.ContinueOnError)
	only := flags.Bool("compile", false, "compile the module into the cache, and end")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "want the file of one module")
		return 2
	}
	memory, _ := strconv.ParseInt(os.Getenv(memoryVariable), 10, 64) // 0 where it is not set
	e, err := newEngine(ctx, os.Getenv(cacheVariable), memory)
	if err != nil && !*only {
		// Compiled by another release, and not to be written: it takes longer.
		e, err = newEngine(ctx, "", memory)
	}
	if err == nil && *only {
		_, err = e.compile(ctx, flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if *only {
		return 0
	}
	if err := serve(ctx, e, flags.Arg(0), os.NewFile(3, "calls"), os.NewFile(4, "answers")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serve answers calls until there are no more.
func serve(ctx context.Context, e *engine, file string, in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, 64<<10)
	w := &frames{out: out}
	_, n, err := readCall(r)
	if err != nil || n == 0 {
		return err // it ends before it began
	}
	m, err := e.compile(ctx, file)
	if err != nil {
		return w.failed("LinkError", err.Error())
	}
	// Each of them is an instance that is not in use; nil: it is to be made.
	idle := make(chan *instance, n)
	for range n {
		idle <- nil
	}
	if m.reactor {
		first, err := m.instantiate(ctx)
		if err != nil {
			return w.failed("InitError", err.Error())
		}
		<-idle
		idle <- first
	}
	if err := w.say("ready", nil); err != nil {
		return err
	}
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, _, err := readCall(r)
		if err != nil || c == nil {
			return err
		}
		if n == 1 {
			if err := m.answer(ctx, w, c, idle); err != nil {
				return err
			}
			continue
		}
		calls.Go(func() {
			// An error is that of a host that is gone.
			_ = m.answer(ctx, w, c, idle)
		})
	}
}

// answer makes one call and says what came of it.
func (m *module) answer(ctx context.Context, w *frames, c *call, idle chan *instance) error {
	i := <-idle
	defer func() { idle <- i }()
	one := func(payload []byte) answer {
		if !m.reactor {
			return m.run(ctx, payload)
		}
		if i == nil {
			var err error
			if i, err = m.instantiate(ctx); err != nil {
				return failure("error", "InitError", err.Error(), "")
			}
		}
		a, err := i.handle(ctx, payload)
		if err != nil {
			i.close(ctx)
			i = nil
		}
		return a
	}
	if c.list {
		payload, err := c.asList()
		if err != nil {
			a := failure("undecodable", "", err.Error(), "")
			return w.say("error "+c.id+" "+strconv.Itoa(len(a.body)), a.body)
		}
		answers, failed := c.fromList(one(payload))
		if failed.kind != "" {
			return w.say("error "+c.id+" "+strconv.Itoa(len(failed.body)), failed.body)
		}
		return w.result(c.id, answers)
	}
	answers := make([]answer, len(c.items))
	for k, item := range c.items {
		answers[k] = one(item)
	}
	return w.result(c.id, answers)
}
