package algorithmia

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Data is what this part of the API wants of the server: hosted files. Who may
// what is decided behind it; what a caller may not read is not there for it.
type Data interface {
	// Owners returns the accounts that the caller may list, its own first.
	Owners(ctx context.Context, by auth.Caller) ([]string, error)
	// Collections returns the names, in order, of up to limit collections of an
	// account after a name, and whether there are more.
	Collections(ctx context.Context, by auth.Caller, owner, after string, limit int) (names []string, more bool, err error)
	// Collection returns who may read a collection.
	Collection(ctx context.Context, by auth.Caller, p Place) (DataAccess, error)
	CreateCollection(ctx context.Context, by auth.Caller, p Place, access DataAccess) error
	SetAccess(ctx context.Context, by auth.Caller, p Place, access DataAccess) error
	// DeleteCollection returns how many files went with it.
	DeleteCollection(ctx context.Context, by auth.Caller, p Place, force bool) (files int, err error)

	// Files returns up to limit files of a collection after a name, in the
	// order of their names, and whether there are more.
	Files(ctx context.Context, by auth.Caller, p Place, after string, limit int) (files []DataFile, more bool, err error)
	OpenFile(ctx context.Context, by auth.Caller, p Place) (DataReader, error)
	// Writable says whether the caller may write a file and its collection is
	// there: it is asked before the content is read.
	Writable(ctx context.Context, by auth.Caller, p Place) error
	// PutFile writes a file, whole or not at all. size and md5 are what the
	// content must have, -1 and nil if that is not known.
	PutFile(ctx context.Context, by auth.Caller, p Place, content io.Reader, size int64, md5 []byte) error
	DeleteFile(ctx context.Context, by auth.Caller, p Place) error
}

// Place is what a path of the data API names: everything, where Owner is empty,
// an account, a collection of it, or a file of that.
type Place struct {
	Area  DataArea
	Owner string // an account
	// Collection is the name of a hosted collection, Session and Function
	// (OWNER/NAME) are whose the others are.
	Collection, Session, Function string
	File                          string // empty: the collection
}

// DataArea is a sort of collections.
type DataArea string

// The areas: collections of accounts, and those that belong to a session, and
// to a function and who calls it, for a day and for ever.
const (
	DataHosted    DataArea = ""
	DataSession   DataArea = "session"
	DataTemporary DataArea = "temp"
	DataPermanent DataArea = "perm"
)

// DataAccess is who may read a collection besides its owner.
type DataAccess string

// The values of DataAccess: nobody, functions of the owner whoever calls them,
// everybody with a key.
const (
	DataPrivate    DataAccess = "private"
	DataAlgorithms DataAccess = "algorithms"
	DataPublic     DataAccess = "public"
)

// DataFile is what is known of a file.
type DataFile struct {
	Name     string
	Size     int64
	Modified time.Time
	// Checksum is the same for the same content, in letters and digits.
	Checksum string
}

// DataReader reads a file as it was when it was opened.
type DataReader struct {
	DataFile
	io.ReadSeekCloser
}

// pageSize is how much of a directory is listed at a time.
const pageSize = 1000

func (d *Door) dataRoutes() (routes []Route) {
	for _, base := range []string{"/v1/data/{path...}", "/v1/connector/{connector}/{path...}"} {
		routes = append(routes,
			Route{Method: http.MethodGet, Pattern: base, serve: d.getData},
			Route{Method: http.MethodHead, Pattern: base, serve: d.getData},
			Route{Method: http.MethodPut, Pattern: base, Streams: true, serve: d.putData},
			Route{Method: http.MethodPost, Pattern: base, serve: d.postData},
			Route{Method: http.MethodPatch, Pattern: base, serve: d.patchData},
			Route{Method: http.MethodDelete, Pattern: base, serve: d.deleteData},
		)
	}
	return routes
}

// place returns what a request is about.
func (d *Door) place(r *request) (Place, error) {
	if d.Data == nil {
		return Place{}, unsupported("hosted files")
	}
	// Connectors are KIND or KIND+LABEL. A label of ours names nothing more.
	if id := r.value("connector"); id != "" {
		if kind, _, _ := strings.Cut(id, "+"); kind != "data" {
			return Place{}, runnel.Errorf(runnel.CodeNotFound, "the connector %.80q is not connected: this server has data, its own files, and no other", id)
		}
	}
	path := r.value("path")
	if path == "" {
		return Place{}, nil
	}
	segments := strings.Split(path, "/")
	var p Place
	switch segments[0] {
	case ".session":
		if r.caller.Session == "" {
			return Place{}, runnel.Errorf(runnel.CodeNotFound, "data://.session is there within a call only: it belongs to that, and this request comes from outside")
		}
		p = Place{Area: DataSession, Owner: r.caller.Account, Session: r.caller.Session}
		segments = segments[1:]
	case ".algo":
		var err error
		if p, segments, err = functionPlace(r.caller, segments[1:]); err != nil {
			return Place{}, err
		}
	default:
		p.Owner = segments[0]
		if p.Owner == ".my" {
			p.Owner = r.caller.Account
		}
		if segments = segments[1:]; len(segments) == 0 {
			return p, nil
		}
		p.Collection, segments = segments[0], segments[1:]
	}
	switch len(segments) {
	case 0:
	case 1:
		p.File = segments[0]
	default:
		return Place{}, runnel.Errorf(runnel.CodeNotFound, "collections have no directories: a file is data://OWNER/COLLECTION/FILE")
	}
	return p, nil
}

// functionPlace reads what comes after .algo: OWNER/NAME/temp, or temp within a
// function, or perm. A function sees its own only, who calls from outside those
// of every function for its account.
func functionPlace(by auth.Caller, segments []string) (p Place, rest []string, err error) {
	own, _, _ := strings.Cut(by.Function, "@")
	area := func(i int) bool {
		return i < len(segments) && slices.Contains([]DataArea{DataTemporary, DataPermanent}, DataArea(segments[i]))
	}
	p.Owner = by.Account
	switch {
	case len(segments) > 2 && area(2):
		p.Area, p.Function, rest = DataArea(segments[2]), segments[0]+"/"+segments[1], segments[3:]
	case area(0) && own == "":
		return Place{}, nil, runnel.Errorf(runnel.CodeNotFound, "data://.algo/%s is that of the function that asks: from outside name it, data://.algo/OWNER/NAME/%s", segments[0], segments[0])
	case area(0):
		p.Area, p.Function, rest = DataArea(segments[0]), own, segments[1:]
	default:
		return Place{}, nil, runnel.Errorf(runnel.CodeNotFound, "want data://.algo/OWNER/NAME/temp or data://.algo/OWNER/NAME/perm, or within a function data://.algo/temp or data://.algo/perm")
	}
	if own != "" && own != p.Function {
		return Place{}, nil, runnel.Errorf(runnel.CodeNotFound, "data://.algo/%s is for that function only", p.Function)
	}
	return p, rest, nil
}

// URI is the place as clients know it.
func (p Place) URI() string {
	parts := []string{p.Owner, p.Collection}
	switch p.Area {
	case DataHosted:
	case DataSession:
		parts = []string{".session"}
	case DataTemporary, DataPermanent:
		parts = []string{".algo", p.Function, string(p.Area)}
	}
	if p.File != "" {
		parts = append(parts, p.File)
	}
	return "data://" + strings.TrimSuffix(strings.Join(parts, "/"), "/")
}

// directory says whether the place is all or an account.
func (p Place) directory() bool { return p.Area == DataHosted && p.Collection == "" }

// listing is how a directory is answered.
type listing struct {
	Folders []folder   `json:"folders"`
	Files   []fileItem `json:"files"`
	Marker  string     `json:"marker,omitempty"`
	ACL     *dataACL   `json:"acl,omitempty"`
}

type folder struct {
	Name string `json:"name"`
}

type fileItem struct {
	Filename     string `json:"filename"`
	Size         int64  `json:"size"`
	LastModified string `json:"last_modified"`
}

// dataTime has exactly three digits: clients read no other.
const dataTime = "2006-01-02T15:04:05.000Z"

// getData is GET and HEAD: a file, or a page of a directory.
func (d *Door) getData(w http.ResponseWriter, r *request) error {
	p, err := d.place(r)
	if err != nil {
		return err
	}
	if p.File != "" {
		return d.getFile(w, r, p)
	}
	marker := r.URL.Query().Get("marker")
	after, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || !utf8.Valid(after) {
		return fault(http.StatusBadRequest, numberBadMarker, runnel.Errorf(runnel.CodeInvalid, "the marker %.80q is not one of a listing", marker))
	}
	page := listing{Folders: []folder{}, Files: []fileItem{}}
	last, more := "", false
	ctx := r.Context()
	switch {
	case p.Owner == "":
		names, err := d.Data.Owners(ctx, r.caller)
		if err != nil {
			return err
		}
		page.Folders = folders(names)
	case p.directory():
		var names []string
		if names, more, err = d.Data.Collections(ctx, r.caller, p.Owner, string(after), pageSize); err != nil {
			return err
		}
		page.Folders = folders(names)
		if more {
			last = names[len(names)-1]
		}
	default:
		access, err := d.Data.Collection(ctx, r.caller, p)
		if err != nil {
			return err
		}
		if r.flag("acl") {
			page.ACL = aclOf(access)
		}
		if r.Method == http.MethodHead {
			break
		}
		var files []DataFile
		if files, more, err = d.Data.Files(ctx, r.caller, p, string(after), pageSize); err != nil {
			return err
		}
		for _, f := range files {
			last = f.Name
			page.Files = append(page.Files, fileItem{Filename: f.Name, Size: f.Size, LastModified: f.Modified.UTC().Format(dataTime)})
		}
	}
	if more {
		page.Marker = base64.RawURLEncoding.EncodeToString([]byte(last))
	}
	w.Header().Set("X-Data-Type", "directory")
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "application/json")
		return nil
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

func folders(names []string) []folder {
	out := make([]folder, 0, len(names))
	for _, n := range names {
		out = append(out, folder{n})
	}
	return out
}

// getFile answers with a file, or the range of it that is asked for.
func (d *Door) getFile(w http.ResponseWriter, r *request, p Place) error {
	f, err := d.Data.OpenFile(r.Context(), r.caller, p)
	if err != nil {
		return err
	}
	defer f.Close()
	media, err := mediaOf(r.Header.Get("Accept"), f)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("X-Data-Type", "file")
	h.Set("Content-Type", media)
	h.Set("Etag", `"`+f.Checksum+`"`)
	out := &fileWriter{ResponseWriter: w, rc: http.NewResponseController(w)}
	http.ServeContent(out, r.Request, "", f.Modified, f)
	if out.unsatisfied {
		h.Del("X-Data-Type")
		return fault(http.StatusRequestedRangeNotSatisfiable, numberInvalidRequest,
			runnel.Errorf(runnel.CodeInvalid, "the file has %d bytes, and none of the range %.80q", f.Size, r.Header.Get("Range")))
	}
	return nil
}

// The types that a file is answered as.
var fileMedia = []string{"text/plain", "application/json", "application/octet-stream"}

// mediaOf returns the type of a file: the first of fileMedia that the client
// asks for. What it asked for is what it decodes. For others text is told from
// the rest by how it begins.
func mediaOf(accept string, f io.ReadSeeker) (string, error) {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, err := mime.ParseMediaType(part)
		if err == nil && slices.Contains(fileMedia, media) {
			if media == "text/plain" {
				return "text/plain; charset=utf-8", nil
			}
			return media, nil
		}
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read a file: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("read a file: %w", err)
	}
	if isText(head[:n]) {
		return "text/plain; charset=utf-8", nil
	}
	return "application/octet-stream", nil
}

// isText says whether b, which may end within a character, begins a text in
// UTF-8.
func isText(b []byte) bool {
	for i := range min(utf8.UTFMax, len(b)) {
		if utf8.RuneStart(b[len(b)-1-i]) {
			if !utf8.FullRune(b[len(b)-1-i:]) {
				b = b[:len(b)-1-i]
			}
			break
		}
	}
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(c rune) bool { return c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b })
}

// Patience with the other side of a file: how long it may do nothing, and how
// often that is renewed.
const (
	patience = time.Minute
	renewal  = 5 * time.Second
)

// fileWriter writes a file. It takes back the answer that a range is not there,
// which has another shape here.
type fileWriter struct {
	http.ResponseWriter
	rc          *http.ResponseController
	renewed     time.Time
	unsatisfied bool
}

func (w *fileWriter) WriteHeader(status int) {
	if status == http.StatusRequestedRangeNotSatisfiable {
		w.unsatisfied = true
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *fileWriter) Write(b []byte) (int, error) {
	if w.unsatisfied {
		return len(b), nil
	}
	if now := time.Now(); now.Sub(w.renewed) > renewal {
		w.renewed = now
		_ = w.rc.SetWriteDeadline(now.Add(patience)) // not every ResponseWriter has deadlines
	}
	return w.ResponseWriter.Write(b)
}

// patientReader reads a body, of which each part may take as long as patience.
type patientReader struct {
	io.Reader
	rc      *http.ResponseController
	renewed time.Time
}

func (p *patientReader) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.renewed) > renewal {
		p.renewed = now
		_ = p.rc.SetReadDeadline(now.Add(patience)) // not every ResponseWriter has deadlines
	}
	n, err := p.Reader.Read(b)
	if err != nil { // what is left to do takes as long as it takes
		_ = p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// putData is PUT: a file, of whatever type.
func (d *Door) putData(w http.ResponseWriter, r *request) error {
	p, err := d.place(r)
	if err != nil {
		return err
	}
	if p.File == "" {
		return runnel.Errorf(runnel.CodeInvalid, "%s is no file: put data://OWNER/COLLECTION/FILE", p.URI())
	}
	var sum []byte
	if text := r.Header.Get("Content-MD5"); text != "" {
		if sum, err = base64.StdEncoding.DecodeString(text); err != nil || len(sum) != 16 {
			return runnel.Errorf(runnel.CodeInvalid, "Content-MD5 is not 16 bytes in base64")
		}
	}
	// Before the body, which a client may hold back until it is asked for.
	if err := d.Data.Writable(r.Context(), r.caller, p); err != nil {
		return err
	}
	body := &patientReader{Reader: r.Body, rc: http.NewResponseController(w)}
	if err := d.Data.PutFile(r.Context(), r.caller, p, body, r.ContentLength, sum); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, dataResult{p.URI()})
	return nil
}

// dataResult says what was made.
type dataResult struct {
	Result string `json:"result"`
}

// dataACL is an access list as clients send and get it.
type dataACL struct {
	Read []string `json:"read"`
}

const (
	aclAlgorithms = "algo://.my/*"
	aclPublic     = "user://*"
)

func aclOf(access DataAccess) *dataACL {
	switch access {
	case DataAlgorithms:
		return &dataACL{[]string{aclAlgorithms}}
	case DataPublic:
		return &dataACL{[]string{aclPublic}}
	case DataPrivate:
	}
	return &dataACL{[]string{}}
}

// access reads an access list. none is what a missing one means.
func (a *dataACL) access(none DataAccess) (DataAccess, error) {
	if a == nil || a.Read == nil {
		if none == "" {
			return "", runnel.Errorf(runnel.CodeInvalid, `acl.read is needed: [], [%q] or [%q]`, aclAlgorithms, aclPublic)
		}
		return none, nil
	}
	access := DataPrivate
	for _, who := range a.Read {
		switch {
		case who == aclPublic:
			access = DataPublic
		case who == aclAlgorithms && access == DataPrivate:
			access = DataAlgorithms
		case who != aclAlgorithms:
			return "", runnel.Errorf(runnel.CodeInvalid, `acl.read has %.80q: want [], [%q] or [%q]`, who, aclAlgorithms, aclPublic)
		}
	}
	return access, nil
}

// postData is POST: a new collection in the account that the path names.
func (d *Door) postData(w http.ResponseWriter, r *request) error {
	p, err := d.place(r)
	if err != nil {
		return err
	}
	if p.Owner == "" || !p.directory() {
		return runnel.Errorf(runnel.CodeInvalid, "collections are made in accounts, data://OWNER, and have no directories")
	}
	var in struct {
		Name *string  `json:"name"`
		ACL  *dataACL `json:"acl"`
	}
	// Some clients send the name alone, as it is or as JSON.
	switch body := bytes.TrimSpace(r.body); {
	case bytes.HasPrefix(body, []byte("{")):
		if err := decode(body, &in); err != nil {
			return err
		}
	case bytes.HasPrefix(body, []byte(`"`)) && json.Unmarshal(body, &in.Name) == nil:
	default:
		name := string(body)
		in.Name = &name
	}
	if in.Name == nil || *in.Name == "" {
		return runnel.Errorf(runnel.CodeInvalid, "the name of the collection is missing")
	}
	access, err := in.ACL.access(DataAlgorithms)
	if err != nil {
		return err
	}
	p.Collection = *in.Name
	if err := d.Data.CreateCollection(r.Context(), r.caller, p, access); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, dataResult{p.URI()})
	return nil
}

// patchData is PATCH: who may read a collection.
func (d *Door) patchData(w http.ResponseWriter, r *request) error {
	p, err := d.place(r)
	if err != nil {
		return err
	}
	if p.Area != DataHosted || p.Collection == "" || p.File != "" {
		return runnel.Errorf(runnel.CodeInvalid, "%s has no access list: collections of accounts have one", p.URI())
	}
	var in struct {
		ACL *dataACL `json:"acl"`
	}
	if err := decode(r.body, &in); err != nil {
		return err
	}
	access, err := in.ACL.access("")
	if err != nil {
		return err
	}
	if err := d.Data.SetAccess(r.Context(), r.caller, p, access); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// deleteData is DELETE: a file, or a collection. What is counted is what is
// gone, the collection included.
func (d *Door) deleteData(w http.ResponseWriter, r *request) error {
	p, err := d.place(r)
	if err != nil {
		return err
	}
	deleted := 1
	switch {
	case p.directory():
		return runnel.Errorf(runnel.CodeInvalid, "files and collections can be deleted, accounts cannot be deleted here")
	case p.File != "":
		err = d.Data.DeleteFile(r.Context(), r.caller, p)
	default:
		var files int
		files, err = d.Data.DeleteCollection(r.Context(), r.caller, p, r.flag("force"))
		deleted += files
	}
	if err != nil {
		return err
	}
	var out struct {
		Result struct {
			Deleted int `json:"deleted"`
		} `json:"result"`
	}
	out.Result.Deleted = deleted
	writeJSON(w, http.StatusOK, out)
	return nil
}
