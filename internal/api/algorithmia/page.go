package algorithmia

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel"
)

// Bounds of a page.
const (
	defaultPage = 50
	maxPage     = 1000
)

// pageOf is a part of a list.
type pageOf[T any] struct {
	// Marker is where the next page begins, nil on the last one.
	Marker   *string `json:"marker"`
	NextLink *string `json:"next_link"`
	Results  []T     `json:"results"`
}

// order is how a list is ordered by its keys.
type order int

const (
	highestFirst order = iota
	lowestFirst
)

// paged returns the page that a request asks for. The list is ordered by its
// keys, so that a page begins where the last one ended whatever was added or
// removed meanwhile. A marker is of one kind of list.
func paged[T any](d *Door, r *request, kind string, all []T, by order, key func(T) string) (pageOf[T], error) {
	query := r.URL.Query()
	limit := defaultPage
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return pageOf[T]{}, fault(http.StatusBadRequest, numberBadLimit, runnel.Errorf(runnel.CodeInvalid, "limit: %.40q is not a number from 1 to %d", text, maxPage))
		}
		limit = n
	}
	if marker := query.Get("marker"); marker != "" {
		text, err := base64.RawURLEncoding.DecodeString(marker)
		last, ok := strings.CutPrefix(string(text), kind+"\x00")
		if err != nil || !ok {
			return pageOf[T]{}, fault(http.StatusBadRequest, numberBadMarker, runnel.Errorf(runnel.CodeInvalid, "marker: is not one of this list"))
		}
		all = all[len(all)-behind(all, last, by, key):]
	}
	page := pageOf[T]{Results: append([]T{}, all[:min(limit, len(all))]...)}
	if len(all) > limit {
		marker := base64.RawURLEncoding.EncodeToString([]byte(kind + "\x00" + key(page.Results[limit-1])))
		query.Set("marker", marker)
		link := d.base(r) + strings.TrimSuffix(r.URL.EscapedPath(), "/") + "?" + query.Encode()
		page.Marker, page.NextLink = &marker, &link
	}
	return page, nil
}

// behind returns how many of a list come after the key that a page ended with.
func behind[T any](all []T, last string, by order, key func(T) string) int {
	for i, v := range all {
		if at := strings.Compare(key(v), last); by == highestFirst && at < 0 || by == lowestFirst && at > 0 {
			return len(all) - i
		}
	}
	return 0
}
