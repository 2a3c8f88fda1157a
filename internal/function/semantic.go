package function

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Semantic is a semantic version: 1.2.3 is major, minor, revision.
type Semantic struct{ Major, Minor, Revision int }

// String returns it as in 1.2.3.
func (v Semantic) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Revision) }

// MarshalText is String, for records.
func (v Semantic) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (v *Semantic) UnmarshalText(text []byte) error {
	parts, ok := numbers(string(text))
	if !ok || len(parts) != 3 {
		return fmt.Errorf("%q is not a semantic version: want three numbers, as in 1.2.3", text)
	}
	*v = Semantic{parts[0], parts[1], parts[2]}
	return nil
}

func (v Semantic) compare(w Semantic) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Revision, w.Revision))
}

// Kinds of a publication: which of the three numbers grows. Those behind it
// are 0 again.
const (
	BumpMajor    = "major"
	BumpMinor    = "minor"
	BumpRevision = "revision"
)

// next returns the version after v; false where bump is none of the three.
func (v Semantic) next(bump string) (Semantic, bool) {
	switch bump {
	case BumpMajor:
		return Semantic{v.Major + 1, 0, 0}, true
	case BumpMinor:
		return Semantic{v.Major, v.Minor + 1, 0}, true
	case BumpRevision:
		return Semantic{v.Major, v.Minor, v.Revision + 1}, true
	}
	return v, false
}

// fits says whether v begins with these numbers.
func (v Semantic) fits(parts []int) bool {
	for i, n := range [...]int{v.Major, v.Minor, v.Revision} {
		if i < len(parts) && parts[i] != n {
			return false
		}
	}
	return true
}

// numbers reads 1.2.3, or the beginning of one: 1.2, 1.2.*, 1 or 1.*.
func numbers(text string) (parts []int, ok bool) {
	words := strings.Split(text, ".")
	if n := len(words); n > 1 && n <= 3 && words[n-1] == "*" {
		words = words[:n-1]
	}
	if len(words) > 3 {
		return nil, false
	}
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != w { // no 01
			return nil, false
		}
		parts = append(parts, int(n))
	}
	return parts, true
}

// Less says whether v comes before w.
func (v Semantic) Less(w Semantic) bool { return v.compare(w) < 0 }
