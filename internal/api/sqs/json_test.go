package sqs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// everything is an input that keeps all of a document, as encoding/json does:
// what decoder reads it with is what actions read with.
type everything map[string]any

func (e everything) parameter(d *decoder, name []byte) bool {
	e[string(name)] = anything(d)
	return true
}

func anything(d *decoder) any {
	switch c := d.peek(); c {
	case '{':
		m := make(map[string]any)
		d.object(func(name []byte) {
			key := string(name)
			m[key] = anything(d)
		})
		return m
	case '[':
		l := []any{}
		d.list(func() { l = append(l, anything(d)) })
		return l
	case '"':
		return d.string()
	case 't', 'f', 'n':
		switch string(d.text()) {
		case "true":
			return true
		case "false":
			return false
		}
		return nil
	default:
		return json.Number(d.text())
	}
}

// nothing is an input that knows no parameter.
type nothing struct{}

func (nothing) parameter(*decoder, []byte) bool { return false }

// depthOf is how deep a document is nested, strings left aside.
func depthOf(doc []byte) (most int) {
	for depth := 0; len(doc) > 0; doc = doc[1:] {
		switch doc[0] {
		case '{', '[':
			depth++
			most = max(most, depth)
		case '}', ']':
			depth--
		}
	}
	return most
}

// FuzzDecoder holds the decoder against encoding/json.
func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `{}`, ` { } `, `{"a":"b"}`, `{"a":null,"b":true,"c":false}`, `{"a":[1,-0.5e+7,{"b":[]}]}`, `{"a":"\u00e9\ud83d\ude00\ud83d\n\/\\"}`,
		`{"a":"b",}`, `{"a" "b"}`, `[]`, `null`, `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":"` + "\n" + `"}`, `{"a":"x`, `{"a":"\`, `{"a":"\u12`, `{"a":nul}`, `{} {}`, "{\"a\":\"\xff\"}",
		`{"\u0061":1,"a":2}`, `{"a":"plain text of more than sixteen bytes","b":"and then an \" escape and more plain text"}`, `{"a":[[[[[[]]]]]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if depthOf(doc) > maxDepth {
			t.Skip()
		}
		trimmed := bytes.TrimLeft(doc, " \t\r\n")
		valid := len(trimmed) == 0 || trimmed[0] == '{' && json.Valid(doc)

		got := everything{}
		err := decode(bytes.Clone(doc), got)
		if (err == nil) != valid {
			t.Fatalf("%q: got %v, valid JSON: %v", doc, err, valid)
		}
		if skipped := decode(bytes.Clone(doc), nothing{}); (skipped == nil) != valid {
			t.Fatalf("%q, skipped: got %v, valid JSON: %v", doc, skipped, valid)
		}
		if !valid || len(trimmed) == 0 {
			return
		}
		want := map[string]any{}
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		// What is no character is U+FFFD there, and here what it was.
		if diff := cmp.Diff(want, replaced(map[string]any(got))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", doc, diff)
		}
	})
}

// replaced is v with a U+FFFD for each byte that is not UTF-8, and for each
// half of a surrogate pair.
func replaced(v any) any {
	switch v := v.(type) {
	case string:
		var b strings.Builder
		for len(v) > 0 {
			r, size := utf8.DecodeRuneInString(v)
			if r == utf8.RuneError && size == 1 && len(v) >= 3 && v[0] == 0xed && v[1]&0xe0 == 0xa0 && v[2]&0xc0 == 0x80 {
				size = 3
			}
			b.WriteRune(r)
			v = v[size:]
		}
		return b.String()
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, replaced(e))
		}
		return out
	case map[string]any:
		out := make(map[string]any)
		for _, name := range slices.Sorted(mapKeys(v)) {
			out[replaced(name).(string)] = replaced(v[name])
		}
		return out
	}
	return v
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// FuzzString writes a string and reads it, with our code and with
// encoding/json.
func FuzzString(f *testing.F) {
	for _, seed := range []string{"", "plain", "of more than eight bytes", "quote \" and \\ and / behind eight bytes", "\x00\x1f\x7f\t\r\n", "é€😀\u2028", "\xff\xed\xa0\x80", "1234567\"", "12345678\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		doc := append(appendString([]byte(`{"s":`), s), '}')
		if asBytes := append(appendString([]byte(`{"s":`), []byte(s)), '}'); !bytes.Equal(doc, asBytes) {
			t.Errorf("a string became %q, its bytes %q", doc, asBytes)
		}
		want := string([]rune(s))
		var theirs struct{ S string }
		if err := json.Unmarshal(doc, &theirs); err != nil || theirs.S != want {
			t.Fatalf("%q became %q: encoding/json reads %q, %v", s, doc, theirs.S, err)
		}
		ours := everything{}
		if err := decode(doc, ours); err != nil || ours["s"] != want {
			t.Errorf("%q: we read %q, %v", s, ours["s"], err)
		}

		n := plainPrefix(s)
		for i, c := range []byte(s) {
			plain := c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\'
			if i < n != plain {
				t.Fatalf("plainPrefix(%q): got %d", s, n)
			}
			if !plain {
				break
			}
		}
		text := utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
			return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
		})
		if isText(s) != text || isText([]byte(s)) != text {
			t.Errorf("isText(%q): got %v", s, !text)
		}
	})
}

// FuzzOutput holds the encoding of answers against encoding/json.
func FuzzOutput(f *testing.F) {
	f.Add("id", "body", "name", "String", []byte("value"), true)
	f.Add("", "\x00\"", "a.b", "Binary.png", []byte{0xff}, false)
	f.Fuzz(func(t *testing.T, id, body, name, dataType string, value []byte, more bool) {
		valid := func(s string) string { return string([]rune(s)) }
		m := received{
			MessageID: runnel.MessageID(id), ReceiptHandle: body, MD5OfBody: digestOf([]byte(body)), Body: []byte(body),
			MessageAttributes: []runnel.Attribute{{Name: name, Type: dataType, Value: value}},
		}
		wantMessage := map[string]any{
			"MessageId": valid(id), "ReceiptHandle": valid(body), "MD5OfBody": string(m.MD5OfBody[:]), "Body": valid(body),
			"MessageAttributes": map[string]any{valid(name): map[string]any{"DataType": valid(dataType), "StringValue": valid(string(value))}},
		}
		if isBinary(dataType) {
			wantMessage["MessageAttributes"] = map[string]any{valid(name): map[string]any{"DataType": valid(dataType), "BinaryValue": base64.StdEncoding.EncodeToString(value)}}
		}
		if more {
			m.Attributes, m.MD5OfMessageAttributes = []pair{{"a", id}, {"b", body}}, "x"
			wantMessage["Attributes"], wantMessage["MD5OfMessageAttributes"] = map[string]any{"a": valid(id), "b": valid(body)}, "x"
		}
		s := sent{MessageID: runnel.MessageID(id), MD5OfMessageBody: m.MD5OfBody, MD5OfMessageAttributes: name, MD5OfMessageSystemAttributes: dataType}
		wantSent := map[string]any{"MessageId": valid(id), "MD5OfMessageBody": string(m.MD5OfBody[:])}
		for field, value := range map[string]string{"MD5OfMessageAttributes": name, "MD5OfMessageSystemAttributes": dataType} {
			if value != "" {
				wantSent[field] = valid(value)
			}
		}
		wantEntry := map[string]any{"Id": valid(name)}
		for k, v := range wantSent {
			wantEntry[k] = v
		}
		failed := []failedEntry{{id, &failure{invalidBatchEntryID, body}}}
		wantFailed := []any{map[string]any{"Id": valid(id), "Code": invalidBatchEntryID.query, "Message": valid(body), "SenderFault": true}}

		for _, test := range []struct {
			out  output
			want map[string]any
		}{
			{none{}, nil},
			{&receiveMessageOutput{}, map[string]any{}},
			{&receiveMessageOutput{[]received{m, m}}, map[string]any{"Messages": []any{wantMessage, wantMessage}}},
			{&sendMessageOutput{s}, wantSent},
			{&sendMessageBatchOutput{[]sentEntry{{name, s}}, nil}, map[string]any{"Successful": []any{wantEntry}}},
			{&sendMessageBatchOutput{nil, failed}, map[string]any{"Failed": wantFailed}},
			{&batchOutput{"x", []string{id, name}, failed}, map[string]any{"Successful": []any{map[string]any{"Id": valid(id)}, map[string]any{"Id": valid(name)}}, "Failed": wantFailed}},
			{queueURLOutput{id}, map[string]any{"QueueUrl": valid(id)}},
			{listQueuesOutput{[]string{id, body}, name + "x"}, map[string]any{"QueueUrls": []any{valid(id), valid(body)}, "NextToken": valid(name + "x")}},
			{getQueueAttributesOutput{[]pair{{"a", id}}}, map[string]any{"Attributes": map[string]any{"a": valid(id)}}},
		} {
			var e encoder
			if _, nothing := test.out.(none); !nothing {
				e.object(test.out)
			}
			text := e.b
			if test.want == nil {
				if len(text) > 0 {
					t.Errorf("%T: got %q", test.out, text)
				}
				continue
			}
			checkXML(t, test.out)
			var got map[string]any
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatalf("%T: %q: %v", test.out, text, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%T: %q (-want +got):\n%s", test.out, text, diff)
			}
		}
	})
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]number{
		`0`: {0, true}, `-1`: {-1, true}, `2147483647`: {math.MaxInt32, true}, `-2147483648`: {math.MinInt32, true}, `null`: {},
	} {
		d := decoder{buf: []byte(text)}
		if got := d.number(); got != want || d.err != nil {
			t.Errorf("%s: got %+v, %v", text, got, d.err)
		}
	}
	for _, text := range []string{`2147483648`, `1.0`, `1e1`, `"1"`, `true`, `{}`, `[]`, ``, `-`, `x`} {
		d := decoder{buf: []byte(text)}
		if got := d.number(); got != (number{}) || d.err == nil {
			t.Errorf("%s: got %+v, %v", text, got, d.err)
		}
	}
}

func TestIsNumber(t *testing.T) {
	for _, s := range []string{
		"0", "-1", "+1", "1.5", ".5", "5.", "1e10", "-1.5E-3", "12345678901234567890123456789012345678",
		"1e126", "-1e126", "9.9e125", "1" + strings.Repeat("0", 126), "1e-128", "-1e-128", "0." + strings.Repeat("0", 127) + "1", "0e500", "-0",
		"000" + strings.Repeat("1", 38) + "000", strings.Repeat("1", 19) + "." + strings.Repeat("1", 19) + "00",
	} {
		if !isNumber([]byte(s)) {
			t.Errorf("%s is a number", s)
		}
	}
	for _, s := range []string{
		"", "-", ".", "e1", "1e", "1e+", "0x10", "1,5", " 1", "NaN", "Inf", "1.5.2", "--1", "1_0", "1e1_0", "1e5.5",
		"1.1e126", "1e127", "-1e127", "2" + strings.Repeat("0", 126), "9.9e-129", "1e-129", "1e99999999999", "1e-99999999999",
		strings.Repeat("1", 39), strings.Repeat("1", 20) + "." + strings.Repeat("1", 19),
	} {
		if isNumber([]byte(s)) {
			t.Errorf("%q is no number", s)
		}
	}
}

func TestDeepDocument(t *testing.T) {
	for depth, want := range map[int]bool{maxDepth - 1: true, maxDepth: false, 1 << 20: false} {
		doc := `{"a":` + strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth) + `}`
		if err := decode([]byte(doc), nothing{}); (err == nil) != want {
			t.Errorf("%d lists in an object: got %v", depth, err)
		}
	}
}

// TestLongLists checks that a request cannot make us keep much more than it
// has bytes.
func TestLongLists(t *testing.T) {
	long := func(element string) string {
		return strings.Repeat(element+",", maxElements) + element
	}
	for body, in := range map[string]input{
		`{"AttributeNames":[` + long(`""`) + `]}`:            new(getQueueAttributesInput),
		`{"MessageAttributeNames":[` + long(`""`) + `]}`:     new(receiveMessageInput),
		`{"Attributes":{` + long(`"":""`) + `}}`:             new(setQueueAttributesInput),
		`{"QueueName":"q","tags":{` + long(`"":""`) + `}}`:   new(createQueueInput),
		`{"MessageAttributeNames":[` + long(`"a.*"`) + `],}`: new(receiveMessageInput),
	} {
		if err := decode([]byte(body), in); err == nil {
			t.Errorf("%.40s... was taken", body)
		}
	}
	var batch sendMessageBatchInput
	if err := decode([]byte(`{"Entries":[`+long(`{"MessageAttributes":{`+long(`"":{}`)+`}}`)+`]}`), &batch); err != nil {
		t.Fatal(err)
	}
	if len(batch.Entries) != maxEntries || len(batch.ids) != maxEntries || batch.count != maxElements+1 {
		t.Errorf("entries: kept %d, counted %d", len(batch.Entries), batch.count)
	}
	if as := batch.Entries[0].MessageAttributes; len(as.list) != maxMessageAttributes || as.count != maxElements+1 {
		t.Errorf("attributes: kept %d, counted %d", len(as.list), as.count)
	}
}

func TestAttributeFilter(t *testing.T) {
	all := []runnel.Attribute{{Name: "Hello"}, {Name: "Help.Me"}, {Name: "General"}, {Name: traceAttribute}}
	for names, want := range map[string]string{
		"All": "General Hello Help.Me", ".*": "General Hello Help.Me", "Hel.*": "Hello Help.Me", "Help.*": "Help.Me", "Hello General": "General Hello",
		"Foo Hello": "Hello", "hello": "", "..foo": "", "AWS.": "", "AWS.TraceHeader": "", "Hel*": "", "": "",
	} {
		var got []string
		for _, a := range attributeFilter(strings.Fields(names)).filter(all) {
			got = append(got, a.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", names, got, want)
		}
	}
}

// TestEntryIDs holds the ids of entries against the names of queues, whose
// rule they share.
func TestEntryIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "a_B-9": true, strings.Repeat("x", 80): true, "": false, strings.Repeat("x", 81): false, "a.b": false, "é": false, "a b": false,
	} {
		if got := isEntryID(id); got != want {
			t.Errorf("%q: got %v, want %v", id, got, want)
		}
	}
}

// TestLimitsOfTexts checks the numbers that error messages spell out.
func TestLimitsOfTexts(t *testing.T) {
	if queue.MaxVisibilityTimeout.Seconds() != 43200 || queue.MaxDelay.Seconds() != 900 || queue.MaxReceiveWait.Seconds() != 20 {
		t.Error("a limit has changed: look at the texts")
	}
	if strconv.Itoa(maxListed) != "1000" || maxEntries != 10 || maxReceived != 10 {
		t.Error("a limit has changed: look at the texts")
	}
}
