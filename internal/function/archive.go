package function

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// The bounds of an archive, besides those of a source, which hold while it is
// unpacked.
const (
	// maxEntries are files, links and directories.
	maxEntries = 60_000
	// maxDirectory is how much of a zip its directory may be: it is read into
	// memory as a whole.
	maxDirectory = 16 << 20
	// maxStream is what a tar may be unpacked: what is ignored in it is read
	// too.
	maxStream = 1 << 30
	// maxTarget is the longest target of a symbolic link.
	maxTarget = 4096
)

// IsArchive says whether a source of this name is an archive.
func IsArchive(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".zip") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// Unpack unpacks a zip or a gzipped tar, whichever it is by its first bytes,
// into the empty directory dir. Nothing is written outside of dir, whatever
// the archive says, nor more than a source may have; what Ignored says is left
// out. Of the modes only the bit of programs is kept. Where links lead is
// looked at when the source is copied: here they are only not followed out.
func Unpack(ctx context.Context, dir string, archive io.ReaderAt, size int64) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack the source: %w", err)
	}
	defer root.Close()
	u := &unpacker{ctx: ctx, root: root, left: maxSourceBytes}
	var magic [4]byte
	n, err := archive.ReadAt(magic[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("unpack the source: %w", err)
	}
	switch head := magic[:n]; {
	case bytes.Equal(head, []byte("PK\x03\x04")), bytes.Equal(head, []byte("PK\x05\x06")):
		return u.zip(archive, size)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return u.tar(io.NewSectionReader(archive, 0, size))
	default:
		return runnel.Errorf(runnel.CodeInvalid, "the source is neither a zip nor a gzipped tar")
	}
}

// unpacker writes the entries of one archive.
type unpacker struct {
	ctx  context.Context //nolint:containedctx // of the one call
	root *os.Root
	// left is how many bytes more there may be.
	left           int64
	entries, files int
}

func badArchive(format string, args ...any) error {
	return runnel.Errorf(runnel.CodeInvalid, "the archive of the source: %s", fmt.Sprintf(format, args...))
}

// zip unpacks a zip.
func (u *unpacker) zip(archive io.ReaderAt, size int64) error {
	directory := &boundedReaderAt{from: archive, bounded: true, left: maxDirectory}
	z, err := zip.NewReader(directory, size)
	if errors.Is(err, errDirectory) {
		return runnel.Errorf(runnel.CodeTooLarge, "the archive of the source has too many entries")
	}
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are looked at below
		return badArchive("%v", err)
	}
	directory.bounded = false // from here on it is read by entries
	for _, f := range z.File {
		mode := f.Mode()
		var kind byte = tar.TypeReg
		switch {
		case f.Flags&1 != 0:
			return badArchive("%q is encrypted", f.Name)
		case strings.HasSuffix(f.Name, "/") || mode.IsDir():
			kind = tar.TypeDir
		case mode&fs.ModeSymlink != 0:
			kind = tar.TypeSymlink
		case !mode.IsRegular():
			kind = tar.TypeChar
		}
		// What is declared is refused before anything is written.
		if kind == tar.TypeReg && f.UncompressedSize64 > uint64(u.left) {
			return tooLarge()
		}
		open := func() (io.ReadCloser, error) { return f.Open() }
		if err := u.entry(f.Name, kind, mode&0o111 != 0, "", open); err != nil {
			return err
		}
	}
	return nil
}

// tar unpacks a gzipped tar.
func (u *unpacker) tar(archive io.Reader) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(archive, 64<<10))
	if err != nil {
		return badArchive("%v", err)
	}
	stream := &io.LimitedReader{R: z, N: maxStream}
	tr := tar.NewReader(stream)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			// What follows is padding; the checksum is behind it.
			if _, err := io.Copy(io.Discard, stream); err != nil {
				return badArchive("%v", err)
			}
			return nil
		}
		if stream.N <= 0 {
			return tooLarge()
		}
		if err != nil {
			return badArchive("%v", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if h.Typeflag == tar.TypeReg && h.Size > u.left && !ignoredPath(h.Name) {
			return tooLarge()
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(tr), nil }
		if err := u.entry(h.Name, h.Typeflag, h.FileInfo().Mode()&0o111 != 0, h.Linkname, open); err != nil {
			return err
		}
	}
}

// ignoredPath says whether a file of this name is no part of a function.
func ignoredPath(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if Ignored(part) {
			return true
		}
	}
	return false
}

// entry writes one entry of the kind, which is a Typeflag of a tar. target is
// where a link leads, or empty where its content says so.
func (u *unpacker) entry(as string, kind byte, exec bool, target string, open func() (io.ReadCloser, error)) error {
	if err := context.Cause(u.ctx); err != nil {
		return fmt.Errorf("unpack the source: %w", err)
	}
	name := path.Clean(strings.TrimSuffix(as, "/"))
	switch {
	case strings.ContainsAny(name, "\\\x00") || !utf8.ValidString(name):
		return badArchive("%q is not a name of UTF-8 with slashes", as)
	case name == "." && kind == tar.TypeDir:
		return nil
	case !fs.ValidPath(name) || name == ".":
		return badArchive("%q is outside of it", as)
	case ignoredPath(name):
		return nil
	}
	if u.entries++; u.entries > maxEntries {
		return runnel.Errorf(runnel.CodeTooLarge, "the archive of the source has more than %d entries", maxEntries)
	}
	err := u.write(name, kind, exec, target, open)
	var at *fs.PathError
	var link *os.LinkError
	var coded *runnel.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("unpack the source: %w", err)
	case errors.Is(err, fs.ErrExist):
		return badArchive("%q stands in it twice", as)
	case errors.As(err, &at):
		return badArchive("%q: %v", as, at.Err)
	case errors.As(err, &link):
		return badArchive("%q: %v", as, link.Err)
	}
	return badArchive("%q: %v", as, err)
}

func (u *unpacker) write(name string, kind byte, exec bool, target string, open func() (io.ReadCloser, error)) (err error) {
	if kind == tar.TypeDir {
		return u.root.MkdirAll(name, 0o755)
	}
	if kind != tar.TypeReg && kind != tar.TypeSymlink {
		return errors.New("is neither a file, nor a directory, nor a symbolic link")
	}
	if u.files++; u.files > maxSourceFiles {
		return tooManyFiles()
	}
	if dir := path.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if kind == tar.TypeSymlink && target != "" {
		return u.root.Symlink(target, name)
	}
	in, err := open()
	if err != nil {
		return err
	}
	defer in.Close()
	if kind == tar.TypeSymlink {
		text, err := io.ReadAll(io.LimitReader(in, maxTarget+1))
		if err == nil && (len(text) == 0 || len(text) > maxTarget) {
			err = errors.New("is a symbolic link that leads nowhere")
		}
		if err != nil {
			return err
		}
		return u.root.Symlink(string(text), name)
	}
	mode := fs.FileMode(0o644)
	if exec {
		mode = 0o755
	}
	out, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(in, u.left+1))
	if u.left -= n; err == nil && u.left < 0 {
		err = tooLarge()
	}
	return errors.Join(err, out.Close())
}

// errDirectory says that a zip's directory is larger than any of a source.
var errDirectory = errors.New("the directory is too large")

// boundedReaderAt reads at most left bytes while it is bounded.
type boundedReaderAt struct {
	from    io.ReaderAt
	bounded bool
	left    int64
}

// ReadAt implements io.ReaderAt, for one goroutine.
func (b *boundedReaderAt) ReadAt(p []byte, at int64) (int, error) {
	if b.bounded {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, errDirectory
		}
	}
	return b.from.ReadAt(p, at)
}
