package algorithmia

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/runnel-io/runnel"
)

// Route is one call of the API.
type Route struct {
	Method string
	// Pattern is a path whose segments are words, or names in braces, which
	// stand for one segment each; the last may be "{name...}", which stands for
	// the rest of the path, with its slashes, and may be empty.
	Pattern string
	// Open routes need no key, Admin ones an admin key.
	Open, Admin bool
	// MaxBody is how much of the body is read, 1 MiB where it is 0. Streams has
	// the route read the body itself.
	MaxBody int64
	Streams bool

	serve func(w http.ResponseWriter, r *request) error
}

// errNoRoute says that the API has no such path, or not by this method. It is
// said to callers that are known only.
var errNoRoute = errors.New("no route")

// table finds routes.
type table struct {
	// routes are by method and number of segments; those with words come before
	// those with names in their place.
	routes []*entry
}

type entry struct {
	*Route
	segments []string
}

func newTable(routes []Route) *table {
	t := new(table)
	for i := range routes {
		r := &routes[i]
		t.routes = append(t.routes, &entry{r, strings.Split(strings.TrimPrefix(r.Pattern, "/"), "/")})
	}
	return t
}

// find returns the route of a request and the values of its names. Of several
// that fit it is the one that has a word where the others have names, first
// segment first; what fits exactly goes before what takes a rest.
func (t *table) find(r *http.Request) (*Route, map[string]string, error) {
	segments, err := split(r.URL.EscapedPath())
	if err != nil {
		return nil, nil, err
	}
	var best *entry
	known := false // the path, by another method
	for _, e := range t.routes {
		if !e.fits(segments) {
			continue
		}
		if e.Method != r.Method {
			known = true
			continue
		}
		if best == nil || e.before(best) {
			best = e
		}
	}
	switch {
	case best != nil:
		return best.Route, best.values(segments), nil
	case known:
		return nil, nil, &noRoute{method: r.Method, known: true}
	}
	return nil, nil, &noRoute{method: r.Method}
}

// noRoute is errNoRoute, in words.
type noRoute struct {
	method string
	known  bool
}

func (e *noRoute) Error() string {
	if e.known {
		return "the path has no method " + e.method
	}
	return "the API has no such path"
}

func (e *noRoute) Is(target error) bool { return target == errNoRoute }

// split cuts a path, as it was sent, into its segments.
func split(escaped string) ([]string, error) {
	escaped = strings.TrimSuffix(strings.TrimPrefix(escaped, "/"), "/")
	segments := strings.Split(escaped, "/")
	for i, s := range segments {
		text, err := url.PathUnescape(s)
		switch {
		case err != nil:
			return nil, runnel.Errorf(runnel.CodeInvalid, "the path is not escaped as a URL's")
		case text == "." || text == "..":
			return nil, runnel.Errorf(runnel.CodeInvalid, "the path has the segment %s, which names nothing", text)
		case text == "" && len(segments) > 1:
			return nil, runnel.Errorf(runnel.CodeInvalid, "the path has an empty segment")
		case strings.ContainsAny(text, "/\\\x00"):
			return nil, runnel.Errorf(runnel.CodeInvalid, "the path has an encoded slash, a backslash or a zero byte: no name has one")
		}
		segments[i] = text
	}
	return segments, nil
}

// rest returns the name of a segment that stands for the rest of a path.
func rest(segment string) (name string, ok bool) {
	if !strings.HasPrefix(segment, "{") || !strings.HasSuffix(segment, "...}") {
		return "", false
	}
	return segment[1 : len(segment)-4], true
}

func isName(segment string) bool { return strings.HasPrefix(segment, "{") }

func (e *entry) fits(segments []string) bool {
	for i, s := range e.segments {
		if _, ok := rest(s); ok {
			return len(segments) >= i
		}
		if i >= len(segments) || !isName(s) && s != segments[i] {
			return false
		}
	}
	return len(segments) == len(e.segments)
}

func (e *entry) values(segments []string) map[string]string {
	var values map[string]string
	for i, s := range e.segments {
		if !isName(s) {
			continue
		}
		if values == nil {
			values = make(map[string]string)
		}
		if name, ok := rest(s); ok {
			values[name] = strings.Join(segments[i:], "/")
			break
		}
		values[strings.Trim(s, "{}")] = segments[i]
	}
	return values
}

// before says whether e is more special than o.
func (e *entry) before(o *entry) bool {
	for i := range min(len(e.segments), len(o.segments)) {
		if a, b := rank(e.segments[i]), rank(o.segments[i]); a != b {
			return a < b
		}
	}
	return len(e.segments) < len(o.segments) // the longer one takes an empty rest
}

// rank is 0 for a word, 1 for a name, 2 for a rest.
func rank(segment string) int {
	if !isName(segment) {
		return 0
	}
	if _, ok := rest(segment); ok {
		return 2
	}
	return 1
}
