package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// addOutputFlag gives a command the flag -o. Its argument is checked by
// asJSON.
func addOutputFlag(cmd *cobra.Command, words string) *string {
	return cmd.Flags().StringP("output", "o", "", "`format` of the output: "+words)
}

// asJSON says whether the flag -o asks for JSON; other is the other word that
// it may have.
func asJSON(format, other string) (bool, error) {
	switch format {
	case "json":
		return true, nil
	case "", other:
		return false, nil
	}
	return false, &usageError{fmt.Sprintf("-o is %s or json, not %q", other, format)}
}

// table is what get and ls print: columns two spaces apart, the first row
// their names.
type table struct{ rows [][]string }

func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			c = "-" // scripts count the columns
		}
		cells[i] = oneLine(c)
	}
	t.rows = append(t.rows, cells)
}

// write prints the table with one write.
func (t *table) write(out io.Writer) error {
	_, err := io.WriteString(out, t.String())
	return err
}

// String is the table as it is printed.
func (t *table) String() string {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, row := range t.rows {
		for i, cell := range row {
			text.WriteString(cell)
			if i < len(row)-1 {
				text.WriteString(strings.Repeat(" ", widths[i]+2-utf8.RuneCountInString(cell)))
			}
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// sheet is what describe and show print: names and values, and blocks.
type sheet struct{ text bytes.Buffer }

// sheetColumn is the width of the names.
const sheetColumn = 13

// line adds a value, none if it is empty.
func (s *sheet) line(name, value string) {
	if value != "" {
		fmt.Fprintf(&s.text, "%-*s %s\n", sheetColumn, name, strings.ReplaceAll(printable(value), "\n", "\n"+strings.Repeat(" ", sheetColumn+1)))
	}
}

// block adds lines under a name, none if there are none.
func (s *sheet) block(name, value string) {
	if value = strings.TrimRight(printable(value), "\n"); value != "" {
		fmt.Fprintf(&s.text, "%s:\n  %s\n", name, strings.ReplaceAll(value, "\n", "\n  "))
	}
}

func (s *sheet) write(out io.Writer) error {
	_, err := out.Write(s.text.Bytes())
	return err
}

// printable replaces control characters, which could do anything to a
// terminal: what functions print and senders send is not ours.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, text)
}

// oneLine is text without line ends and tabs, which would break a table.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(printable(text), func(r rune) bool { return r == '\n' || r == '\t' }), " ")
}

// cut shortens text to a number of characters.
func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "..."
	}
	return text
}

// shortVersion is enough of a version for people.
func shortVersion(v string) string {
	if len(v) > 12 {
		return v[:12]
	}
	return v
}

// when is a time in the zone of who reads it, "" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func number(n int64) string {
	if n < 0 {
		return "" // the source does not say
	}
	return strconv.FormatInt(n, 10)
}

// memory is a number of bytes that was measured, "" if it was not.
func memory(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1fMiB", float64(bytes)/(1<<20))
}

// milliseconds is a time for people, in three digits or so.
func milliseconds(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return fmt.Sprintf("%.3gms", ms)
}

// atMost is the upper bound of a bucket of times. The last one holds all that
// is over half a minute.
func atMost(ms float64) string {
	if ms >= 60_000 {
		return ">30s"
	}
	return "<=" + milliseconds(ms)
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// indented returns JSON for people.
func indented(raw json.RawMessage) (string, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// printJSON prints v as one line, for programs.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
