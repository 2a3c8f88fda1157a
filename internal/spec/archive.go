package spec

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// The bounds of an archive that is looked into: what the server unpacks is
// bounded more closely.
const (
	maxArchive = 250 << 20
	maxEntries = 200_000
	maxStream  = 1 << 30
)

// isArchive says whether a source of this name is an archive.
func isArchive(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".zip") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// archive is what is in an archive, by its clean names.
type archive struct{ entries map[string]fs.FileInfo }

// readArchive lists a zip or a gzipped tar.
func readArchive(f fs.File, size int64) (*archive, error) {
	at, ok := f.(interface {
		io.ReaderAt
		io.Reader
	})
	if !ok {
		return nil, errors.New("cannot be looked into")
	}
	if size > maxArchive {
		return nil, fmt.Errorf("has %d bytes: at most 250MiB are taken", size)
	}
	a := &archive{make(map[string]fs.FileInfo)}
	var magic [4]byte
	n, _ := at.ReadAt(magic[:], 0)
	switch head := magic[:n]; {
	case bytes.HasPrefix(head, []byte("PK")):
		z, err := zip.NewReader(at, size)
		if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
			return nil, fmt.Errorf("is not a whole zip: %w", err)
		}
		for _, f := range z.File {
			if err := a.add(f.Name, f.FileInfo()); err != nil {
				return nil, err
			}
		}
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bufio.NewReader(at))
		if err != nil {
			return nil, fmt.Errorf("is not a gzipped tar: %w", err)
		}
		stream := &io.LimitedReader{R: z, N: maxStream}
		for tr := tar.NewReader(stream); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if stream.N <= 0 {
				return nil, errors.New("unpacks to more than 250MiB")
			}
			if err != nil {
				return nil, fmt.Errorf("is not a whole gzipped tar: %w", err)
			}
			if err := a.add(h.Name, h.FileInfo()); err != nil {
				return nil, err
			}
		}
	default:
		return nil, errors.New("is neither a zip nor a gzipped tar")
	}
	return a, nil
}

// add notes an entry, and the directories that it is in.
func (a *archive) add(name string, info fs.FileInfo) error {
	name = path.Clean(strings.TrimSuffix(name, "/"))
	if !fs.ValidPath(name) {
		return fmt.Errorf("%q is outside of it", name)
	}
	if len(a.entries) == maxEntries {
		return fmt.Errorf("has more than %d entries", maxEntries)
	}
	a.entries[name] = info
	return nil
}

// stat looks at an entry. A symbolic link may lead to anything.
func (a *archive) stat(name string) (fs.FileInfo, error) {
	info, ok := a.entries[path.Clean(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil, nil //nolint:nilnil // not known
	}
	return info, nil
}

// children returns the names of what is in a directory.
func (a *archive) children(dir string) []string {
	var out []string
	for name := range a.entries {
		if path.Dir(name) == dir {
			out = append(out, name)
		}
	}
	return out
}
