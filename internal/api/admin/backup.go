package admin

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/runnel-io/runnel/internal/auth"
)

// Backups makes copies of all data.
type Backups interface {
	// Backup makes a copy, as of now, that does not change any more.
	Backup() (Copy, error)
}

// Copy is a copy of all data: the files of a data directory.
type Copy struct {
	Files fs.FS
	// Remove ends the copy. It is called once.
	Remove func() error
}

// ManifestName is the last entry of a backup: the list of the files before it
// as a Manifest in JSON. A tar without it was cut off. It is not part of the
// data.
const ManifestName = "runnel-backup.json"

// Manifest is what a whole backup holds.
type Manifest struct {
	Version string         `json:"version"` // of the server
	Time    time.Time      `json:"time"`
	Files   []ManifestFile `json:"files"`
}

// ManifestFile is one file of a backup.
type ManifestFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// stallTimeout is how long a client of a backup may take for one write: the
// copy keeps files on the disk that could go otherwise.
const stallTimeout = time.Minute

const mediaTar = "application/x-tar"

// backup streams a tar of a copy of all data. It begins only when the copy is
// made: then what can fail is reading, and the connection. Both cut the stream
// off, before the manifest.
func (d *Door) backup(context.Context, auth.Caller, *struct{}) (*huma.StreamResponse, error) {
	c, err := d.Backups.Backup()
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		d.writeBackup(w, c)
	}}, nil
}

func (d *Door) writeBackup(w http.ResponseWriter, c Copy) {
	defer func() {
		if err := c.Remove(); err != nil {
			d.Log.Error("the copy made for a backup was not removed, the next start will", "err", err)
		}
	}()
	w.Header().Set("Content-Type", mediaTar)
	m := Manifest{Version: d.Version, Time: time.Now().UTC()}
	if err := writeTar(&patientWriter{w: w, rc: http.NewResponseController(w)}, c.Files, m); err != nil {
		d.Log.Error("backup was cut off", "err", err)
		panic(http.ErrAbortHandler) // the client must not take it for an end
	}
}

// writeTar writes files and then the manifest.
func writeTar(w io.Writer, files fs.FS, m Manifest) error {
	tw := tar.NewWriter(w)
	err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case e.IsDir():
			return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700})
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", name)
		}
		f, err := writeFile(tw, files, name)
		m.Files = append(m.Files, f)
		return err
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: ManifestName, Mode: 0o600, Size: int64(len(text)), ModTime: m.Time}); err != nil {
		return err
	}
	if _, err := tw.Write(text); err != nil {
		return err
	}
	return tw.Close()
}

func writeFile(tw *tar.Writer, files fs.FS, name string) (ManifestFile, error) {
	f, err := files.Open(name)
	if err != nil {
		return ManifestFile{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ManifestFile{}, err
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return ManifestFile{}, err
	}
	sum := sha256.New()
	// A file that grew meanwhile is an error of the tar writer, one that
	// shrank is one of the next header.
	n, err := io.Copy(io.MultiWriter(tw, sum), f)
	if err != nil {
		return ManifestFile{}, fmt.Errorf("%s: %w", name, err)
	}
	return ManifestFile{Name: name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// patientWriter gives each write stallTimeout. The deadline of the last one
// ends with the request.
type patientWriter struct {
	w  io.Writer
	rc *http.ResponseController
}

func (p *patientWriter) Write(b []byte) (int, error) {
	// Not every ResponseWriter has deadlines; a test's has none.
	_ = p.rc.SetWriteDeadline(time.Now().Add(stallTimeout))
	return p.w.Write(b)
}
