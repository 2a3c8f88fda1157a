package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

func newBackupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy the data of a running server into a new directory",
		Long: `Copy the data of a running server, as of now, into a new directory, from which
a server can be started. The server goes on working. It needs an admin key.

The copy holds the messages and the keys. It does not hold the key file
(secret.key, or --secret-key-file) that secrets of functions and of API keys are
sealed with: keep a copy of that elsewhere, and put it into the directory before a
server is started from it. DIR appears when the copy is whole, checked and on the
disk; until then it is DIR.partial.`,
		Example: `  runnel backup /backups/$(date +%F)
  runnel serve --dir /backups/2026-01-31`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			m, err := backup(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			var size int64
			for _, f := range m.Files {
				size += f.Size
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d files, %d bytes, as of %s\nstart a server from it with: runnel serve --dir %s\n",
				len(m.Files), size, m.Time.Local().Format(time.DateTime), args[0])
			return err
		},
	}
	addClientFlags(cmd)
	return cmd
}

// manifestName and manifest are the last entry of a backup: without it, it was
// cut off.
const manifestName = "runnel-backup.json"

type manifest struct {
	Time  time.Time      `json:"time"`
	Files []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// maxManifestBytes is more than a store of any size has.
const maxManifestBytes = 64 << 20

// backup makes the directory dest, or leaves nothing behind.
func backup(ctx context.Context, c *client, dest string) (m manifest, err error) {
	if err := vacant(dest); err != nil {
		return m, err
	}
	dest = filepath.Clean(dest)
	partial := dest + ".partial"
	if err := os.Mkdir(partial, 0o700); errors.Is(err, fs.ErrExist) {
		return m, fmt.Errorf("%s exists: another backup is being made there, or was cut off; if so, remove it", partial)
	} else if err != nil {
		return m, fmt.Errorf("make the directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	stream, err := c.stream(ctx, "GET", "/api/v1/backup")
	if err != nil {
		return m, err
	}
	defer stream.Close()
	if m, err = extract(stream, partial); err != nil {
		return m, fmt.Errorf("the backup did not arrive whole, nothing was kept of it: %w", err)
	}
	if err := os.Remove(dest); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("replace the empty directory: %w", err)
	}
	if err := os.Rename(partial, dest); err != nil {
		return m, fmt.Errorf("move the backup into place: %w", err)
	}
	return m, syncDir(filepath.Dir(dest))
}

// vacant returns nil if dest can become a directory.
func vacant(dest string) error {
	entries, err := os.ReadDir(dest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", dest, err)
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: name a new directory", dest)
	}
	return nil
}

// extract reads a backup into dir, and checks that it is whole.
func extract(stream io.Reader, dir string) (m manifest, err error) {
	// No entry leads out of the directory: a root does not let it.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return m, err
	}
	defer root.Close()
	got := make(map[string]manifestFile)
	dirs := []string{dir}
	for tr := tar.NewReader(stream); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return m, errors.New("the stream has ended early")
		}
		if err != nil {
			return m, err
		}
		switch {
		case h.Name == manifestName:
			if err := json.NewDecoder(io.LimitReader(tr, maxManifestBytes)).Decode(&m); err != nil {
				return m, fmt.Errorf("read the manifest: %w", err)
			}
			if err := compare(m, got); err != nil {
				return m, err
			}
			for _, d := range dirs {
				if err := syncDir(d); err != nil {
					return m, err
				}
			}
			return m, nil
		case h.Typeflag == tar.TypeDir:
			if err := root.MkdirAll(filepath.FromSlash(h.Name), 0o700); err != nil {
				return m, err
			}
			dirs = append(dirs, filepath.Join(dir, filepath.FromSlash(h.Name)))
		case h.Typeflag == tar.TypeReg:
			f, err := extractFile(tr, root, h.Name)
			if err != nil {
				return m, fmt.Errorf("%s: %w", h.Name, err)
			}
			got[h.Name] = f
		default:
			return m, fmt.Errorf("%s is neither file nor directory", h.Name)
		}
	}
}

// extractFile writes one file, durably.
func extractFile(r io.Reader, root *os.Root, name string) (manifestFile, error) {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return manifestFile{}, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	if err == nil {
		err = f.Sync()
	}
	return manifestFile{Name: name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, errors.Join(err, f.Close())
}

// compare says whether what came is what was sent.
func compare(m manifest, got map[string]manifestFile) error {
	if len(m.Files) == 0 {
		return errors.New("the manifest names no file")
	}
	for _, want := range m.Files {
		if f, ok := got[want.Name]; !ok {
			return fmt.Errorf("%s is missing", want.Name)
		} else if f != want {
			return fmt.Errorf("%s is not what was sent", want.Name)
		}
	}
	if len(got) != len(m.Files) {
		return fmt.Errorf("%d files came, %d were sent", len(got), len(m.Files))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
