package spec

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// maxExpanded bounds what ${file:PATH} may put into a value, in bytes.
const maxExpanded = 64 << 10

// expand replaces ${env:NAME} and ${file:PATH} in a value, and $${ by ${. It
// says whether there was anything to replace by a value.
func (o *Options) expand(text string) (out string, expanded bool, err error) {
	if !strings.Contains(text, "${") {
		return text, false, nil
	}
	var b strings.Builder
	var faults []error
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), expanded, errors.Join(faults...)
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1])
			b.WriteString("${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			faults = append(faults, fmt.Errorf("%q has no }: $${ stands for ${ itself", text[i:]))
			return "", expanded, errors.Join(faults...)
		}
		value, err := o.lookUp(text[i+2 : i+end])
		if err != nil {
			faults = append(faults, err)
		}
		b.WriteString(value)
		expanded = true
		text = text[i+end+1:]
	}
}

// lookUp returns the value of what stands between ${ and }.
func (o *Options) lookUp(ref string) (string, error) {
	kind, name, _ := strings.Cut(ref, ":")
	switch {
	case kind == "env" && name != "":
		if o.Env == nil {
			return "", fmt.Errorf("${%s} cannot be used here: no environment is read", ref)
		}
		value, ok := o.Env(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return value, nil
	case kind == "file" && name != "":
		if o.ReadFile == nil {
			return "", fmt.Errorf("${%s} cannot be used here: no files are read", ref)
		}
		text, err := o.ReadFile(o.path(name))
		switch {
		case err != nil:
			return "", fmt.Errorf("${%s}: %w", ref, err)
		case len(text) > maxExpanded:
			return "", fmt.Errorf("${%s}: the file has %d bytes, more than 64KiB", ref, len(text))
		}
		// The line end that an editor or echo leaves behind.
		return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
	}
	return "", fmt.Errorf("${%s} means nothing: want ${env:NAME} or ${file:PATH}, or $${ for ${ itself", ref)
}

// path is relative to the spec file, unless it is absolute.
func (o *Options) path(name string) string {
	name = filepath.FromSlash(name)
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.Dir, name)
}
