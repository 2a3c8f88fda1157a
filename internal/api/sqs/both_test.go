package sqs_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// Cases are written down once, as JSON, and sent by both protocols.

// flatNames are how the query protocol calls the lists and maps of the other;
// of maps also what their names are called.
var flatNames = map[string]struct{ name, key string }{
	"Actions":                     {name: "ActionName"},
	"Attributes":                  {name: "Attribute", key: "Name"},
	"AttributeNames":              {name: "AttributeName"},
	"AWSAccountIds":               {name: "AWSAccountId"},
	"BinaryListValues":            {name: "BinaryListValue"},
	"MessageAttributes":           {name: "MessageAttribute", key: "Name"},
	"MessageAttributeNames":       {name: "MessageAttributeName"},
	"MessageSystemAttributes":     {name: "MessageSystemAttribute", key: "Name"},
	"MessageSystemAttributeNames": {name: "MessageSystemAttributeName"},
	"StringListValues":            {name: "StringListValue"},
	"tags":                        {name: "Tag", key: "Key"},
	"Tags":                        {name: "Tag", key: "Key"},
	"TagKeys":                     {name: "TagKey"},
}

// former writes a JSON document as a form, member by member, so that a name
// that is given twice stays so.
type former struct {
	in     *json.Decoder
	out    strings.Builder
	action string
}

// formOf returns the form that says what a JSON document says. ok is false if
// none can: the document is not one, or has characters that JSON only can write.
func formOf(action, body string) (form string, ok bool) {
	if !json.Valid([]byte(body)) || !utf8.ValidString(body) || strings.Contains(body, `\ud8`) || !strings.HasPrefix(body, "{") {
		return "", false
	}
	f := former{in: json.NewDecoder(strings.NewReader(body)), action: action}
	f.in.UseNumber()
	f.out.WriteString("Action=" + action)
	f.value("", "")
	return f.out.String(), true
}

func (f *former) emit(path, value string) {
	if path != "" {
		f.out.WriteString("&" + path + "=" + url.QueryEscape(value))
	}
}

func (f *former) token() json.Token {
	token, err := f.in.Token()
	if err != nil {
		panic(err) // it was valid
	}
	return token
}

// value writes the next value at a path; key is what names are called if it is
// a map.
func (f *former) value(path, key string) {
	join := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	n := 0
	switch token := f.token(); token {
	case nil:
	case json.Delim('['):
		for ; f.in.More(); n++ {
			f.value(join(fmt.Sprint(n+1)), "")
		}
		f.token()
		if n == 0 {
			f.emit(path, "")
		}
	case json.Delim('{'):
		for ; f.in.More(); n++ {
			name := f.token().(string)
			flat, isFlat := flatNames[name]
			switch {
			case key != "":
				f.emit(join(fmt.Sprint(n+1))+"."+key, name)
				f.value(join(fmt.Sprint(n+1))+".Value", "")
			case isFlat:
				f.value(join(flat.name), flat.key)
			case name == "Entries":
				f.value(join(f.action+"RequestEntry"), "")
			default:
				f.value(join(name), "")
			}
		}
		f.token()
		if n == 0 {
			f.emit(path, "")
		}
	default:
		f.emit(path, fmt.Sprint(token))
	}
}

// refuses checks that a call is refused, and how, in both protocols. What is
// no JSON, or of a wrong type in JSON, is looked at in JSON only.
func (e *env) refuses(t *testing.T, action, body string, want refusal) {
	t.Helper()
	if diff := cmp.Diff(want, refused(t, e.do(action, body))); diff != "" {
		t.Errorf("%s, JSON (-want +got):\n%s", action, diff)
	}
	form, ok := formOf(action, body)
	if !ok || want.Type == commonType+"SerializationException" {
		return
	}
	code, fault, _ := strings.Cut(want.Query, ";")
	message := want.Message
	if want == noQueue {
		message = "The specified queue does not exist for this wsdl version."
	}
	e.refusesForm(t, form, queryRefusal{want.Status, fault, code, message})
}

// queryRefusal is how a refused request is answered in the query protocol.
type queryRefusal struct {
	Status              int
	Type, Code, Message string
}

func (e *env) refusesForm(t *testing.T, form string, want queryRefusal) {
	t.Helper()
	if diff := cmp.Diff(want, queryRefused(t, e.send(e.formRequest(http.MethodPost, "/", form)))); diff != "" {
		t.Errorf("%.200s (-want +got):\n%s", form, diff)
	}
}

func queryRefused(t *testing.T, a answer) queryRefusal {
	t.Helper()
	_, text := xmlAnswer(t, a)
	var got struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Error   struct{ Type, Code, Message string }
	}
	if err := xml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("answer %d %s: %v", a.status, text, err)
	}
	if h := a.header.Get("x-amzn-query-error"); h != "" {
		t.Errorf("x-amzn-query-error beside XML: %s", h)
	}
	return queryRefusal{a.status, got.Error.Type, got.Error.Code, got.Error.Message}
}

// takes checks that a call is done, in both protocols.
func (e *env) takes(t *testing.T, action, body string) {
	t.Helper()
	if a := e.do(action, body); a.status != http.StatusOK {
		t.Errorf("%s, JSON: %d %s", action, a.status, a.body)
	}
	form, ok := formOf(action, body)
	if !ok {
		t.Fatalf("%s: no form says %s", action, body)
	}
	if status, text := e.post("/", form); status != http.StatusOK {
		t.Errorf("%s, query: %d %s", action, status, text)
	}
}

// failedEntry is an entry of a batch that failed, in either protocol.
type failedEntry struct {
	ID          string `json:"Id" xml:"Id"`
	Code        string
	Message     string
	SenderFault bool
}

// batch calls an action by both protocols and returns what failed, by them.
func (e *env) batch(t *testing.T, action, body string) (good int, failed []failedEntry) {
	t.Helper()
	var fromJSON struct {
		Successful []struct{ ID string }
		Failed     []failedEntry
	}
	a := e.ok(action, body)
	if err := json.Unmarshal([]byte(a.body), &fromJSON); err != nil {
		t.Fatal(err)
	}
	form, ok := formOf(action, body)
	if !ok {
		t.Fatalf("%s: no form says %s", action, body)
	}
	status, text := e.post("/", form)
	var fromXML struct {
		Result struct {
			Send   []struct{} `xml:"SendMessageBatchResultEntry"`
			Delete []struct{} `xml:"DeleteMessageBatchResultEntry"`
			Change []struct{} `xml:"ChangeMessageVisibilityBatchResultEntry"`

			Failed []failedEntry `xml:"BatchResultErrorEntry"`
		} `xml:",any"`
	}
	if err := xml.Unmarshal([]byte(text), &fromXML); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s: %v", action, status, text, err)
	}
	if diff := cmp.Diff(fromJSON.Failed, fromXML.Result.Failed); diff != "" {
		t.Errorf("%s, failed entries (-JSON +query):\n%s", action, diff)
	}
	r := fromXML.Result
	if n := len(r.Send) + len(r.Delete) + len(r.Change); n != len(fromJSON.Successful) {
		t.Errorf("%s: %d entries succeeded in the query protocol, %d in JSON", action, n, len(fromJSON.Successful))
	}
	return len(fromJSON.Successful), fromJSON.Failed
}
