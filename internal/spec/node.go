package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a file may have at most. The time that the parser takes grows with the
// square of the keys, to about a second here; a flow has about 200 bytes, 10
// keys and 3 levels.
const (
	maxFile  = 256 << 10 // bytes
	maxKeys  = 20_000
	maxDepth = 64 // levels, and anchors and tags in a row
)

// kind is what a node is.
type kind uint8

const (
	nothing kind = iota // null
	truth               // true, false
	integer
	decimal
	text
	list
	mapping
)

// node is a YAML value with its anchors, aliases, tags and merge keys
// resolved. An alias is the node of its anchor: the nodes are no tree, but
// have no cycles.
type node struct {
	kind  kind
	line  int
	text  string // of scalars: as written, quotes and escapes resolved
	int   any    // of integers: int64 or uint64
	items []*node
	pairs []pair // in their order, each key once
}

// pair is a key with its value.
type pair struct {
	key   string
	line  int // of the key
	value *node
}

// describe says what a node is, to somebody who wanted something else.
func (n *node) describe() string {
	switch n.kind {
	case nothing:
		return "nothing"
	case truth:
		return n.text
	case integer, decimal:
		return "the number " + n.text
	case list:
		return "a list"
	case mapping:
		return "a mapping"
	default:
		return "text"
	}
}

// builder makes nodes of a syntax tree. Its faults are those that YAML itself
// knows.
type builder struct {
	file    string
	anchors map[string]*node
	faults  []*Fault
}

// parse returns the one document of a file; nil for an empty one.
func (b *builder) parse(src []byte) *node {
	src = []byte(strings.TrimPrefix(string(src), "\ufeff"))
	// The lexer counts a CRLF as two lines.
	src = []byte(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(src)))
	if len(src) > maxFile {
		b.fault(0, "", "the file has %d bytes, more than 256KiB", len(src))
		return nil
	}
	tokens := lexer.Tokenize(string(src))
	if line, err := tooMuch(tokens); err != nil {
		b.fault(line, "", "%w", err)
		return nil
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		b.syntax(src, err)
		return nil
	}
	var top *node
	for _, doc := range parsed.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.DirectiveType:
		case top != nil:
			line := doc.Body.GetToken().Position.Line
			if doc.Start != nil {
				line = doc.Start.Position.Line
			}
			b.fault(line, "", "a second document begins here: a file has one")
			return top
		default:
			top = b.node(doc.Body, "")
		}
	}
	return top
}

// tooMuch says where a text has too many keys, or goes too deep: the parser
// calls itself for each level.
func tooMuch(tokens token.Tokens) (line int, err error) {
	keys, depth, row := 0, 0, 0
	for _, t := range tokens {
		line := t.Position.Line
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
			row++
		case token.SequenceEndType, token.MappingEndType:
			depth--
			row = 0
		case token.SequenceEntryType, token.MappingKeyType:
			if t.Prev != nil && t.Prev.Position.Line != line {
				row = 0 // the indent tells
			}
			row++
		case token.MappingValueType:
			keys++
			row++
		case token.AnchorType, token.TagType:
			row++
		default:
			// The name of an anchor is a token of its own.
			if t.Prev == nil || t.Prev.Type != token.AnchorType {
				row = 0
			}
		}
		// Block style costs a column for each level.
		if max(depth, row) > maxDepth || t.Position.IndentNum > 2*maxDepth && t.Type != token.StringType {
			return line, fmt.Errorf("is nested deeper than %d levels", maxDepth)
		}
		if keys > maxKeys {
			return line, fmt.Errorf("the file has more than %d keys", maxKeys)
		}
	}
	return 0, nil
}

// syntax keeps one line of what the parser says on several.
func (b *builder) syntax(src []byte, err error) {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		b.fault(0, "", "%s", first)
		return
	}
	line, hint := syntax.Token.Position.Line, ""
	if lines := strings.Split(string(src), "\n"); line <= len(lines) && strings.Contains(lines[line-1], "${") {
		hint = `: between { } and [ ] a value with ${...} needs quotes, "${...}"`
	}
	b.fault(line, "", "%s%s", syntax.Message, hint)
}

func (b *builder) fault(line int, path, format string, args ...any) {
	b.faults = append(b.faults, &Fault{File: b.file, Line: line, Path: path, Err: fmt.Errorf(format, args...)})
}

// node never returns nil: what is wrong is nothing.
func (b *builder) node(n ast.Node, path string) *node {
	if n == nil {
		return &node{}
	}
	out := &node{line: n.GetToken().Position.Line, text: n.GetToken().Value}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		out.kind = truth
	case *ast.IntegerNode:
		out.kind, out.int = integer, n.Value
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind = decimal
	case *ast.StringNode:
		out.kind, out.text = text, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = text, n.Value.Value
	case *ast.SequenceNode:
		out.kind = list
		for i, v := range n.Values {
			if item := whole(v); n.IsFlowStyle && item != nil {
				out.items = append(out.items, item)
				continue
			}
			out.items = append(out.items, b.node(v, fmt.Sprintf("%s[%d]", path, i)))
		}
	case *ast.MappingNode:
		b.mapping(out, n.Values, path)
	case *ast.MappingValueNode:
		b.mapping(out, []*ast.MappingValueNode{n}, path)
	case *ast.AnchorNode:
		// Known only once it is complete: it cannot hold itself.
		out = b.node(n.Value, path)
		if b.anchors == nil {
			b.anchors = make(map[string]*node)
		}
		b.anchors[n.Name.GetToken().Value] = out
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		anchor, ok := b.anchors[name]
		if !ok {
			b.fault(out.line, path, "there is no anchor &%s before this alias", name)
			return &node{line: out.line}
		}
		return anchor
	case *ast.TagNode:
		return b.tag(n, path)
	default:
		b.fault(out.line, path, "a %s has no meaning here", strings.ToLower(n.Type().String()))
	}
	return out
}

// whole puts an item together that the lexer took apart: in {to: [queue:a]} it
// sees a mapping, where YAML has the text queue:a, as it has without the
// braces. nil if n is no such item.
func whole(n ast.Node) *node {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) == 1 {
		n = m.Values[0]
	}
	m, ok := n.(*ast.MappingValueNode)
	if !ok || m.Start == nil || m.Key.GetToken().Type != token.StringType {
		return nil
	}
	if _, ok := m.Value.(ast.ScalarNode); !ok {
		return nil
	}
	key, value := m.Key.GetToken(), m.Value.GetToken()
	if value.Indicator == token.QuotedScalarIndicator || value.Type == token.ImplicitNullType ||
		value.Position.Line != m.Start.Position.Line || value.Position.Column != m.Start.Position.Column+1 {
		return nil
	}
	return &node{kind: text, line: key.Position.Line, text: key.Value + ":" + value.Value}
}

// tag knows those of YAML itself. !!str makes text of a scalar, the others
// say what a value is anyway.
func (b *builder) tag(n *ast.TagNode, path string) *node {
	out := b.node(n.Value, path)
	switch tag := n.Start.Value; tag {
	case "!!str":
		if out.kind < text {
			out = &node{kind: text, line: out.line, text: out.text}
		}
	case "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
	default:
		b.fault(n.Start.Position.Line, path, "the tag %s has no meaning here", tag)
	}
	return out
}

// mapping fills out with keys and values. Keys of its own go before those of
// merged mappings, and of these the earlier ones.
func (b *builder) mapping(out *node, values []*ast.MappingValueNode, path string) {
	out.kind = mapping
	lines := make(map[string]int, len(values))
	var merged *ast.MappingValueNode
	for _, v := range values {
		if v.Key.Type() == ast.MergeKeyType {
			line := v.Key.GetToken().Position.Line
			if merged != nil {
				b.fault(line, path, "<< stands twice, first on line %d: merge several with <<: [*a, *b]", merged.Key.GetToken().Position.Line)
				continue
			}
			merged = v
			continue
		}
		key, line, ok := b.key(v.Key, path)
		if !ok {
			continue
		}
		at := below(path, key)
		if first, ok := lines[key]; ok {
			b.fault(line, at, "stands twice, first on line %d", first)
			continue
		}
		lines[key] = line
		out.pairs = append(out.pairs, pair{key, line, b.node(v.Value, at)})
	}
	if merged == nil {
		return
	}
	from := b.node(merged.Value, path)
	sources := []*node{from}
	if from.kind == list {
		sources = from.items
	}
	for _, source := range sources {
		if source.kind != mapping {
			b.fault(merged.Key.GetToken().Position.Line, path, "<<: want a mapping to merge, or a list of them, not %s", source.describe())
			continue
		}
		for _, p := range source.pairs {
			if _, ok := lines[p.key]; !ok {
				lines[p.key] = p.line
				out.pairs = append(out.pairs, p)
			}
		}
	}
}

// key reads a key, which may be any scalar.
func (b *builder) key(n ast.MapKeyNode, path string) (key string, line int, ok bool) {
	var value ast.Node = n
	if complicated, is := n.(*ast.MappingKeyNode); is {
		value = complicated.Value
	}
	before := len(b.faults)
	got := b.node(value, path)
	if !slices.Contains([]kind{truth, integer, decimal, text}, got.kind) {
		if len(b.faults) == before {
			b.fault(n.GetToken().Position.Line, path, "a key is %s: want text", got.describe())
		}
		return "", 0, false
	}
	return got.text, n.GetToken().Position.Line, true
}

func below(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
