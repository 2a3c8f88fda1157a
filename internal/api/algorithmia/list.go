package algorithmia

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/runnel-io/runnel"
)

// Algorithmia's numbers of bad pages.
const (
	numberListMarker = 5002
	numberListLimit  = 5003
)

// listPage is a part of a list.
type listPage[T any] struct {
	// Marker is where the next page begins, nil on the last one.
	Marker   *string `json:"marker"`
	NextLink *string `json:"next_link"`
	Results  []T     `json:"results"`
}

// onePage returns the page that a request asks for, of a list in the order of its
// keys: a page begins behind where the last one ended, whatever was added or
// removed meanwhile. The marker is the last key.
func onePage[T any](r *request, all []T, key func(T) string) (listPage[T], error) {
	query := r.URL.Query()
	limit := 50
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return listPage[T]{}, fault(http.StatusBadRequest, numberListLimit, runnel.Errorf(runnel.CodeInvalid, "limit: %.40q is not a number from 1 to 1000", text))
		}
		limit = n
	}
	marker := query.Get("marker")
	if len(marker) > 64 {
		return listPage[T]{}, fault(http.StatusBadRequest, numberListMarker, runnel.Errorf(runnel.CodeInvalid, "marker: is not one of this list"))
	}
	if marker != "" {
		at := slices.IndexFunc(all, func(v T) bool { return key(v) > marker })
		if at < 0 {
			at = len(all)
		}
		all = all[at:]
	}
	page := listPage[T]{Results: append([]T{}, all[:min(limit, len(all))]...)}
	if len(all) > limit {
		last := key(page.Results[limit-1])
		query.Set("marker", last)
		link := baseOf(r.Request) + r.URL.EscapedPath() + "?" + query.Encode()
		page.Marker, page.NextLink = &last, &link
	}
	return page, nil
}
