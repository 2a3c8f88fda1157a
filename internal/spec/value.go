package spec

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

var days = regexp.MustCompile(`^([+-]?)([0-9]+)d(.*)$`)

// parseDuration reads what time.ParseDuration does, with days before it: 30s,
// 1m30s, 7d, 1d12h. A day has 24 hours.
func parseDuration(text string) (time.Duration, error) {
	m := days.FindStringSubmatch(text)
	if m == nil {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, notA(text, "duration such as 30s, 1m30s or 7d")
		}
		return d, nil
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil || n > int64(math.MaxInt64/(24*time.Hour))-1 {
		return 0, fmt.Errorf("%q is longer than any duration", text)
	}
	d := time.Duration(n) * 24 * time.Hour
	if m[3] != "" {
		rest, err := time.ParseDuration(m[3])
		if err != nil || m[3][0] == '+' || m[3][0] == '-' || rest >= 24*time.Hour {
			return 0, notA(text, "duration such as 30s, 1m30s or 7d")
		}
		d += rest
	}
	if m[1] == "-" {
		d = -d
	}
	return d, nil
}

var sizes = regexp.MustCompile(`^([+-]?[0-9]+)(\.[0-9]+)? ?([A-Za-z]*)$`)

// units of sizes, in small letters.
var units = map[string]float64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// ParseDuration reads a duration as a spec file has it, as in 1d12h.
func ParseDuration(text string) (time.Duration, error) { return parseDuration(text) }

// ParseSize reads a size as a spec file has it, as in 64MiB.
func ParseSize(text string) (runnel.Size, error) { return parseSize(text) }

// parseSize reads 64MiB, 1GiB, 1.5MB, or plain bytes.
func parseSize(text string) (runnel.Size, error) {
	m := sizes.FindStringSubmatch(text)
	if m == nil {
		return 0, notA(text, "size such as 64MiB, 1GB or 1048576")
	}
	unit, ok := units[strings.ToLower(m[3])]
	if !ok {
		return 0, notA(text, "size such as 64MiB, 1GB or 1048576")
	}
	n, err := strconv.ParseFloat(m[1]+m[2], 64)
	if n *= unit; err != nil || math.Abs(n) > 1<<53 {
		return 0, fmt.Errorf("%q is larger than any size", text)
	}
	if n != math.Trunc(n) {
		return 0, fmt.Errorf("%q is not a whole number of bytes", text)
	}
	return runnel.Size(n), nil
}

func notA(text, what string) error {
	if len(text) > 64 {
		text = text[:64] + "..."
	}
	return fmt.Errorf("%q is not a %s", text, what)
}
