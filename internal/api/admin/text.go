package admin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Duration is a time.Duration that is written as text, as in "1m30s".
type Duration time.Duration

// errDuration is what is said of anything else in its place.
var errDuration = errors.New(`want a duration as text with its unit, as in "30s", "1m30s" or "14d"`)

// durationPattern is what a Duration looks like. It also marks one in a schema:
// the format "duration" is that of ISO 8601.
const durationPattern = `^(0|\d+d|-?(\d+d)?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+)$`

// String returns the duration as in "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the duration as in "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration as Go writes it, with days before it where
// wanted: "14d", "1d12h".
func (d *Duration) UnmarshalText(text []byte) error {
	days, rest, ok := strings.Cut(string(text), "d")
	if !ok {
		days, rest = "0", string(text)
	} else if rest == "" {
		rest = "0s"
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return fmt.Errorf("%q: %w", text, errDuration)
	}
	part, err := time.ParseDuration(rest)
	if err != nil {
		return fmt.Errorf("%q: %w", text, errDuration)
	}
	*d = Duration(time.Duration(n)*24*time.Hour + part)
	return nil
}

// UnmarshalJSON refuses numbers, whose unit nobody would know.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return errDuration
	}
	return d.UnmarshalText([]byte(s))
}

// Schema describes a Duration in the OpenAPI document.
func (Duration) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: durationPattern, Examples: []any{"1m30s"}}
}

// Base64 is binary data, which is written in base64. It is not a []byte, since
// huma would run a regular expression over it before it is decoded.
type Base64 []byte

// MarshalText returns the base64.
func (b Base64) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText decodes base64, with padding.
func (b *Base64) UnmarshalText(text []byte) error {
	out, err := base64.StdEncoding.AppendDecode([]byte{}, text)
	if err != nil {
		return fmt.Errorf("want base64, with padding: %w", err)
	}
	*b = out
	return nil
}

// Schema describes binary data in the OpenAPI document.
func (Base64) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "byte"}
}
