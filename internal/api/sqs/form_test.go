package sqs

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkXML checks that an output is well-formed as XML, too.
func checkXML(t *testing.T, out output) {
	t.Helper()
	e := encoder{xml: true}
	e.member("Result")
	out.encode(&e)
	e.end("Result")
	checkWellFormed(t, e.b)
}

func checkWellFormed(t *testing.T, text []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%q: %v", text, err)
			return
		}
	}
}

// FuzzXML checks that a text comes out of a parser as it went in, but for what
// XML cannot hold.
func FuzzXML(f *testing.F) {
	for _, seed := range []string{"", "plain", "a<b>&\"'c", "\r\n\t", "\x00\x1f", "\xff\xc3", "é😀\uFFFE\uFFFF\uFFFD", "]]>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		text := append(appendXML([]byte("<a>"), s), "</a>"...)
		if err := xml.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := string(xmlText([]byte(s))); got != want {
			t.Errorf("%q: parsed as %q, want %q", s, got, want)
		}
		if isText(s) && got != s {
			t.Errorf("%q: parsed as %q", s, got)
		}
		if !isText(got) {
			t.Errorf("%q: is %q, which has no message", s, got)
		}
	})
}

// values are the parameters of a form, by their names.
func (p *param) values(prefix string, out url.Values) {
	if p.value != nil {
		out.Add(prefix, string(p.value))
	}
	for _, m := range p.params {
		name := string(m.name)
		if p.name != nil {
			name = prefix + "." + name
		}
		m.values(name, out)
	}
}

// FuzzForm holds the reading of forms against net/url.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"", "&", "a", "a=", "=b", "a=b&c=d", "a=1&a=2", "a.b.c=%41+%2b%26%3D&a.b=x", "a=%4", "a=%zz", "%=1", "a==b", ".=1", "..=1&.=2", "a.1=x&a.10=y&a.2=z",
		"Action=SendMessage&MessageBody=%F0%9F%98%80&Attribute.1.Name=a&Attribute.1.Value=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.Contains(raw, ";") {
			t.Skip() // net/url refuses it, AWS takes it for a character
		}
		want, urlErr := url.ParseQuery(raw)
		form := form{root: &param{}}
		err := form.add([]byte(raw))
		if urlErr != nil {
			if err == nil {
				t.Errorf("%q was taken", raw)
			}
			return
		}
		if err != nil { // a limit of ours
			for name, values := range want {
				if len(values) > 1 || strings.Count(name, ".") >= maxSegments {
					return
				}
			}
			if len(want) <= maxParams {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		got := url.Values{}
		form.root.values("", got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", raw, diff)
		}
		if err := decodeForm(form.root, everything{}); err != nil && !strings.Contains(err.Error(), "want") {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

// TestFormShapes decodes the encodings of lists and maps.
func TestFormShapes(t *testing.T) {
	for _, test := range []struct {
		form string
		in   input
		want any
	}{
		{"AttributeName.2=B&AttributeName.1=A&AttributeName.10=C&QueueUrl=q", new(getQueueAttributesInput), &getQueueAttributesInput{"q", []string{"A", "B", "C"}}},
		{"AttributeName=All", new(getQueueAttributesInput), &getQueueAttributesInput{"", []string{"All"}}},
		{"AttributeName=", new(getQueueAttributesInput), &getQueueAttributesInput{}},
		{"Attribute.1.Name=a&Attribute.1.Value=&Attribute.2.Name=b", new(setQueueAttributesInput), &setQueueAttributesInput{"", []pair{{"a", ""}}, true}},
		{"Attribute.Name=a&Attribute.Value=b", new(setQueueAttributesInput), &setQueueAttributesInput{"", []pair{{"a", "b"}}, true}},
		{"QueueName=q&Tag.1.Key=k&Tag.1.Value=v", new(createQueueInput), &createQueueInput{"q", nil, []pair{{"k", "v"}}}},
		{"MaxResults=3&NextToken=n&Version=2012-11-05", new(listQueuesInput), &listQueuesInput{"", paging{number{3, true}, "n"}}},
	} {
		f := form{root: &param{}}
		if err := f.add([]byte(test.form)); err != nil {
			t.Fatal(err)
		}
		if err := decodeForm(f.root, test.in); err != nil {
			t.Errorf("%s: %v", test.form, err)
		}
		if diff := cmp.Diff(test.want, test.in, cmp.AllowUnexported(setQueueAttributesInput{}, listQueuesInput{}, pair{}, number{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.form, diff)
		}
	}
	for _, text := range []string{"MaxResults=x", "MaxResults=", "MaxResults=1.0", "MaxResults=2147483648", "NextToken.1=x"} {
		f := form{root: &param{}}
		if err := f.add([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := decodeForm(f.root, new(listQueuesInput)); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

// TestFormLimits checks that a form cannot make us keep or do much more than
// its bytes.
func TestFormLimits(t *testing.T) {
	many := func(n int) (text string) {
		for i := range n {
			text += "a" + string(rune('a'+i%26)) + strings.Repeat("b", i/26) + "=&"
		}
		return text
	}
	for text, want := range map[string]bool{
		many(maxParams):                           true,
		many(maxParams + 1):                       false,
		strings.Repeat("a.", maxSegments-1) + "a": true,
		strings.Repeat("a.", maxSegments) + "a":   false,
	} {
		f := form{root: &param{}}
		if err := f.add([]byte(text)); (err == nil) != want {
			t.Errorf("%.40s...: got %v", text, err)
		}
	}
}
