package spec

import "strings"

// Closest returns the name that typed was perhaps meant to be: the one with
// the fewest letters to change, if these are about a third at most; or else one
// of which it is nearly the beginning, or which is nearly its beginning, with
// the same first letter; "" if there is none.
func Closest(typed string, names []string) string {
	if len(typed) > 100 {
		return "" // no name is that long
	}
	typed = strings.ToLower(typed)
	best, least := "", (len(typed)+1)/3+1
	for _, name := range names {
		if d := distance(typed, name); d < least {
			best, least = name, d
		}
	}
	if best != "" {
		return best
	}
	for _, name := range names {
		if n := min(len(typed), len(name)); n > 2 && typed[0] == name[0] {
			if d := distance(typed[:n], name[:n]); d < least {
				best, least = name, d
			}
		}
	}
	return best
}

// distance is how many letters must be changed, added, left out, or exchanged
// with their neighbour to make a from b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, twoAbove := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], twoAbove[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
