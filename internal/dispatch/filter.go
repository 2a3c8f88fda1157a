package dispatch

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/runnel-io/runnel"
)

// filter judges messages by an expression.
type filter struct {
	program  *vm.Program
	needBody bool
}

// filterEnv is what an expression sees. The tags are its names.
type filterEnv struct {
	Body       any               `expr:"body"` // decoded JSON, or the text if it is none
	Attributes map[string]string `expr:"attributes"`
	Key        string            `expr:"key"`
	ID         string            `expr:"id"`
	Attempt    int               `expr:"attempt"`
	Steps      int               `expr:"steps"`
}

// bodyUse notes whether an expression reads the body: decoding it is dear.
type bodyUse struct{ found bool }

// Visit implements ast.Visitor.
func (b *bodyUse) Visit(node *ast.Node) {
	if id, ok := (*node).(*ast.IdentifierNode); ok && id.Value == "body" {
		b.found = true
	}
}

// CheckFilter says what is wrong with an expression.
func CheckFilter(text string) error {
	_, err := compileFilter(text)
	return err
}

func compileFilter(text string) (*filter, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	use := new(bodyUse)
	program, err := expr.Compile(text, expr.Env(filterEnv{}), expr.AsBool(), expr.WarnOnAny(), expr.Patch(use))
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("%s: an expression over body, attributes, key, id, attempt and steps is wanted, as in body.kind == \"image\"", first)
	}
	return &filter{program: program, needBody: use.found}, nil
}

// passes says whether a message is for the flow. An expression that fails on
// it is an error of the message.
func (f *filter) passes(it *item) (bool, *runnel.FunctionError) {
	if f == nil {
		return true, nil
	}
	m := &it.d.Message
	env := filterEnv{Key: m.Key, ID: string(m.ID), Attempt: it.attempt, Steps: m.Steps}
	if f.needBody {
		if err := json.Unmarshal(m.Body, &env.Body); err != nil && utf8.Valid(m.Body) {
			env.Body = string(m.Body)
		}
	}
	if len(m.Attributes) > 0 {
		env.Attributes = make(map[string]string, len(m.Attributes))
		for _, a := range m.Attributes {
			env.Attributes[a.Name] = string(a.Value)
		}
	}
	out, err := expr.Run(f.program, env)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return false, &runnel.FunctionError{Kind: runnel.KindUndecodable, Message: "the filter fails on it: " + first}
	}
	return out.(bool), nil
}
