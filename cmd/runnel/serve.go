package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/spec"
	"github.com/runnel-io/runnel/server"
)

func newServeCommand() *cobra.Command {
	cfg := server.Config{Version: thisBuild().version}
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server that demands keys",
		Long: `Run a server that demands a key on each request.

On a new data directory it prints the first two keys, once: an admin key and a
standard one. An AWS client takes the id and the secret of a key; RUNNEL_KEY,
and "Authorization: Bearer", take its token.

The first line on standard output says where the server listens. The log goes to
standard error. SIGTERM or Ctrl-C ends it when the requests under way are done;
a second one ends it at once, which loses nothing that was acknowledged. SIGHUP
applies the spec file of -f again.`,
		Example: `  runnel serve
  runnel serve --dir /var/lib/runnel --addr :7070 --tls-cert cert.pem --tls-key key.pem
  runnel serve --addr 10.0.0.5:7070 --insecure --public-url https://queues.example.com`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			fromFile, err := applyFile(cmd, cfg.SpecFile)
			if err != nil {
				return err
			}
			if cfg.Log, err = logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, fromFile, cmd.OutOrStdout())
		},
	}
	addServeFlags(cmd, &cfg, &logs)
	addFileFlag(cmd, &cfg.SpecFile)
	return cmd
}

// addServeFlags gives a command the flags of serve but -f.
func addServeFlags(cmd *cobra.Command, cfg *server.Config, logs *logFlags) {
	f := cmd.Flags()
	addServerFlags(cmd, cfg, logs, "runnel-data", "text")
	f.StringVar(&cfg.PublicURL, "public-url", "", "what clients call the server, `https://HOST`, where a proxy changes it (default: as each request says)")
	f.StringSliceVar(&cfg.TrustedProxies, "trusted-proxy", nil, "`network` of a proxy before the server, whose X-Forwarded-For, -Proto and -Host are believed; may be repeated")
	f.BoolVar(&cfg.Insecure, "insecure", false, "allow other machines to connect without TLS: messages and tokens can be read on the way")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "PEM `file` of the TLS certificate chain; is read again when it changes")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "PEM `file` of its private key")
}

// addServerFlags gives a command the flags that serve and dev share.
func addServerFlags(cmd *cobra.Command, cfg *server.Config, logs *logFlags, dir, logFormat string) {
	f := cmd.Flags()
	f.StringVar(&cfg.Dir, "dir", dir, "data `directory`; is made if there is none")
	f.StringVar(&cfg.Addr, "addr", server.DefaultAddr, "`HOST:PORT` to listen on; port 0 is any free one")
	f.StringVar(&cfg.SecretKeyFile, "secret-key-file", "", "`file` with the keys that seal secrets of functions and API keys, one a line; the first seals (default: secret.key in the data directory, made when it is needed)")
	f.StringVar(&cfg.Region, "region", "us-east-1", "region in the ARNs of queues; requests for any region are taken")
	f.StringVar(&cfg.WorkerUser, "worker-user", server.WorkerUserOwn, "whom workers are under a root server: own (each a user of its own) or server")
	f.IntVar(&cfg.SessionLimit, "session-limit", 80, "how many calls an account may have under way, of all its flows and requests")
	f.DurationVar(&cfg.DrainTimeout, "drain-timeout", 10*time.Second, "how long requests under way may take at the end")
	cfg.LogBytes = 256 << 20
	f.Var((*sizeFlag)(&cfg.LogBytes), "log-bytes", "how much of the disk the lines that functions print may take")
	cfg.LogAge = 7 * 24 * time.Hour
	f.Var((*ageFlag)(&cfg.LogAge), "log-age", "how long they are kept")
	cfg.FileBytes = 5 << 30
	f.Var((*sizeFlag)(&cfg.FileBytes), "file-bytes", "how large a hosted file may be")
	f.StringVar(&logs.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&logs.format, "log-format", logFormat, "plain (for people), text or json")
}

// sizeFlag is a flag that is a number of bytes, written as in a file.
type sizeFlag runnel.Size

// String returns the size as in 64MiB.
func (s *sizeFlag) String() string { return runnel.Size(*s).String() }

// Set reads it.
func (s *sizeFlag) Set(text string) error {
	size, err := spec.ParseSize(text)
	if err != nil {
		return err
	}
	*s = sizeFlag(size)
	return nil
}

// Type names the values in the help.
func (s *sizeFlag) Type() string { return "size" }

// ageFlag is a flag that is a duration, with days as in a file.
type ageFlag time.Duration

// String returns the duration as in 7d.
func (a *ageFlag) String() string {
	if d := time.Duration(*a); d%(24*time.Hour) != 0 || d == 0 {
		return d.String()
	}
	return fmt.Sprintf("%dd", time.Duration(*a)/(24*time.Hour))
}

// Set reads it.
func (a *ageFlag) Set(text string) error {
	d, err := spec.ParseDuration(text)
	if err != nil {
		return err
	}
	*a = ageFlag(d)
	return nil
}

// Type names the values in the help.
func (a *ageFlag) Type() string { return "duration" }

// serve runs a server until ctx ends. fromFile are the settings that are from
// a file.
func serve(ctx context.Context, cfg server.Config, fromFile map[string]spec.Entry, out io.Writer) error {
	if err := protect(); err != nil {
		return err
	}
	defer reserveHeap()()
	var err error
	if cfg.WASM, err = wasmCommand(); err != nil {
		return err
	}
	s, err := server.New(cfg)
	if err != nil {
		return settingFaults(err, fromFile)
	}
	if err := announce(out, s); err != nil {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, s.Run(ended)) // which only closes it
	}
	if cfg.SpecFile != "" && !cfg.Watch {
		reloading, stop := context.WithCancel(ctx)
		defer stop()
		go reloadOnHangup(reloading, s, cfg.Log)
	}
	err = s.Run(ctx)
	if faults := spec.Faults(err); len(faults) > 0 {
		return &faultsError{lines: faultLines(faults), cause: err}
	}
	return err
}

// reloadOnHangup applies the spec file again on each SIGHUP.
func reloadOnHangup(ctx context.Context, s *server.Server, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		if err := s.Reload(ctx); err != nil && ctx.Err() == nil {
			log.Error("spec not applied, what runs goes on", "err", err)
		}
	}
}

// announce prints where the server listens, and its first keys.
func announce(out io.Writer, s *server.Server) error {
	var text strings.Builder
	fmt.Fprintf(&text, "listening on %s\n", s.URL())
	for _, k := range s.Keys() {
		kind := "standard key"
		if k.Admin {
			kind = "admin key"
		}
		fmt.Fprintf(&text, "%-12s  id %s  secret %s  token %s\n", kind, k.ID, k.Secret, k.Token)
	}
	if len(s.Keys()) > 0 {
		text.WriteString("these keys are shown only now: keep them\n")
	}
	_, err := io.WriteString(out, text.String())
	switch {
	case err != nil && len(s.Keys()) > 0:
		return fmt.Errorf("print the first keys: %w: nobody has seen them, so remove the new data directory and start again", err)
	case err != nil:
		return fmt.Errorf("print where the server listens: %w", err)
	}
	return nil
}

// settingFaults names the faults of a configuration as the flags are called, or
// by their place in the file.
func settingFaults(err error, fromFile map[string]spec.Entry) error {
	switch e := err.(type) { //nolint:errorlint // what is wrapped keeps its text
	case interface{ Unwrap() []error }:
		var out []error
		for _, one := range e.Unwrap() {
			out = append(out, settingFaults(one, fromFile))
		}
		return errors.Join(out...)
	case *runnel.FieldError:
		if entry, ok := fromFile[e.Path]; ok {
			return entry.Fault(fmt.Errorf("%s: %w", e.Path, e.Err))
		}
		return fmt.Errorf("--%s: %w", strings.ReplaceAll(e.Path, "_", "-"), e.Err)
	}
	return err
}

// logFlags say what is logged, and how.
type logFlags struct{ level, format string }

func (l logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var opt slog.HandlerOptions
	var level slog.Level
	switch l.level {
	case "debug", "info", "warn", "error":
		if err := level.UnmarshalText([]byte(l.level)); err != nil {
			return nil, fmt.Errorf("--log-level: %w", err)
		}
	default:
		return nil, &usageError{fmt.Sprintf("--log-level is debug, info, warn or error, not %q", l.level)}
	}
	opt.Level = level
	switch l.format {
	case "plain":
		return slog.New(newPlainLog(w, level)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, &opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &opt)), nil
	}
	return nil, &usageError{fmt.Sprintf("--log-format is plain, text or json, not %q", l.format)}
}
