package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/runnel-io/runnel"
)

// The bounds of a filter. An evaluation cannot be interrupted, so what a
// filter may say is such that its cost grows no faster than its own length
// times that of the message: nothing in it makes text or lists larger than
// what there is, and no loop runs within a loop.
const (
	maxFilterBytes = 1000
	maxFilterNodes = 100
)

// Functions that a filter may use, and operators that it may not.
var (
	filterFunctions = []string{
		"all", "any", "count", "filter", "find", "float", "get", "hasPrefix", "hasSuffix", "indexOf", "int", "keys",
		"len", "lower", "none", "one", "string", "trimPrefix", "trimSuffix", "type", "upper", "values",
	}
	filterRefusedOperators = []string{"..", "+", "**", "^"}
)

// filtered is what a filter sees of a message.
type filtered struct {
	ID       string `expr:"id"`
	Type     string `expr:"type"`
	Message  string `expr:"message"`
	Function string `expr:"function"`
	Version  string `expr:"version"`
	Attempts int    `expr:"attempts"`
	Key      string `expr:"key"`
	Body     any    `expr:"body"`
}

// filter is a compiled expression over messages; nil is true for all.
type filter struct{ program *vm.Program }

// newFilter compiles text. It is CodeInvalid, with the place, if it is wrong.
func newFilter(text string) (*filter, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // the filter that passes all
	}
	if len(text) > maxFilterBytes {
		return nil, runnel.Errorf(runnel.CodeInvalid, "filter: longer than %d bytes", maxFilterBytes)
	}
	text = strings.ReplaceAll(text, "\n", " ") // one line: a place is a column
	var bounds filterBounds
	options := []expr.Option{expr.Env(filtered{}), expr.AsBool(), expr.MaxNodes(maxFilterNodes), expr.Optimize(false), expr.DisableAllBuiltins()}
	for _, name := range filterFunctions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(text, append(options, expr.Patch(&bounds))...)
	var at *file.Error
	switch {
	case errors.As(err, &at):
		return nil, runnel.Errorf(runnel.CodeInvalid, "filter: column %d: %s", at.Column+1, at.Message)
	case err != nil:
		return nil, runnel.Errorf(runnel.CodeInvalid, "filter: %s", err.Error())
	case bounds.fault != "":
		return nil, runnel.Errorf(runnel.CodeInvalid, "filter: column %d: %s", bounds.column+1, bounds.fault)
	}
	return &filter{program}, nil
}

// part is how many messages to read at once.
func (f *filter) part() int {
	if f == nil {
		return 0
	}
	return 10
}

// match says whether m passes. An error is of the expression on this message,
// for example of a field that the body does not have.
func (f *filter) match(m *Message) (bool, error) {
	if f == nil {
		return true, nil
	}
	env := filtered{ID: m.ID, Key: m.Key, Body: m.decoded()}
	if dead := m.DeadLetter; dead != nil {
		env.Type, env.Message, env.Function, env.Version, env.Attempts = dead.Type, dead.Message, dead.Function, dead.Version, dead.Attempts
	}
	out, err := expr.Run(f.program, env)
	var at *file.Error
	if errors.As(err, &at) {
		return false, errors.New(at.Message)
	}
	if err != nil {
		return false, fmt.Errorf("evaluate: %w", err)
	}
	fits, _ := out.(bool)
	return fits, nil
}

// decoded returns the body as JSON if it is, else as text.
func (m *Message) decoded() any {
	if m.Text == nil {
		return string(m.Base64)
	}
	var v any
	if json.Unmarshal([]byte(*m.Text), &v) != nil {
		return *m.Text
	}
	return v
}

// filterBounds finds what a filter may not say.
type filterBounds struct {
	fault  string
	column int
}

// Visit implements ast.Visitor; it changes nothing.
func (b *filterBounds) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		if slices.Contains(filterRefusedOperators, n.Operator) {
			b.refuse(n, fmt.Sprintf("the operator %s cannot be used here", n.Operator))
		}
		if _, constant := n.Right.(*ast.StringNode); n.Operator == "matches" && !constant {
			b.refuse(n, "matches wants its pattern as text in quotes")
		}
	case *ast.BuiltinNode:
		if !slices.Contains(filterFunctions, n.Name) {
			b.refuse(n, fmt.Sprintf("the function %s cannot be used here; these can: %s", n.Name, strings.Join(filterFunctions, ", ")))
		}
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		b.refuse(n, "want one expression, without variables")
	case *ast.PredicateNode:
		inner := &loopBounds{bounds: b}
		ast.Walk(&n.Node, inner)
	}
}

func (b *filterBounds) refuse(n ast.Node, fault string) {
	if b.fault == "" {
		b.fault, b.column = fault, n.Location().From
	}
}

// loopBounds finds what may not stand in what is computed for each element of
// a list: another loop, and what can be large.
type loopBounds struct{ bounds *filterBounds }

// Visit implements ast.Visitor; it changes nothing.
func (l *loopBounds) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode:
		l.bounds.refuse(n, "a loop within a loop cannot be used here")
	case *ast.IdentifierNode:
		if n.Value == "body" || n.Value == "message" || n.Value == "$env" {
			l.bounds.refuse(n, n.Value+" cannot be used within a loop; # is the element")
		}
	}
}
