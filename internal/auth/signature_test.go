package auth_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/runnel-io/runnel/internal/auth"
)

// read returns a request as net/http reads it from these bytes.
func read(t testing.TB, raw string) (*http.Request, []byte) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(raw, "\n", "\r\n"))))
	if err != nil {
		t.Fatalf("read request: %v\n%s", err, raw)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

// The vectors that AWS publishes in its Signature Version 4 test suite and in
// the documentation of IAM (the last one). Those of the suite whose path is
// escaped once, or is no path of HTTP, are left out.
func TestVerifyPublished(t *testing.T) {
	for _, test := range []struct{ name, first, headers, body, service, signed, signature string }{
		{"get-vanilla", "GET /", "", "", "service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slashes", "GET //", "", "", "service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash-dot-slash", "GET /./", "", "", "service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-relative", "GET /example/..", "", "", "service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-relative-relative", "GET /example1/example2/../..", "", "", "service", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-unreserved", "GET /-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "", "", "service", "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"get-vanilla-query-order-key-case", "GET /?Param2=value2&Param1=value1", "", "", "service", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-query-order-value", "GET /?Param1=value2&Param1=value1", "", "", "service", "host;x-amz-date", "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
		{"get-vanilla-empty-query-key", "GET /?Param1=value1", "", "", "service", "host;x-amz-date", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		{"get-vanilla-utf8-query", "GET /?\u1234=bar", "", "", "service", "host;x-amz-date", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		{"get-header-value-trim", "GET /", "My-Header1:  value1\nMy-Header2: \"a   b   c\"\n", "", "service", "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"get-header-key-duplicate", "GET /", "My-Header1:value2\nMy-Header1:value2\nMy-Header1:value1\n", "", "service", "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		{"post-vanilla", "POST /", "", "", "service", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-header-key-sort", "POST /", "My-Header1:value1\n", "", "service", "host;my-header1;x-amz-date", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"post-x-www-form-urlencoded", "POST /", "Content-Type:application/x-www-form-urlencoded\n", "Param1=value1", "service", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		{"iam", "GET /?Action=ListUsers&Version=2010-05-08", "Content-Type:application/x-www-form-urlencoded; charset=utf-8\n", "", "iam", "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := "example.amazonaws.com"
			if test.service == "iam" {
				host = "iam.amazonaws.com"
			}
			r, _ := read(t, test.first+" HTTP/1.1\nHost: "+host+"\n"+test.headers+"X-Amz-Date:20150830T123600Z\n"+
				"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"+test.service+"/aws4_request, SignedHeaders="+test.signed+", Signature="+test.signature+"\n\n")
			got, err := example().Verify(r, []byte(test.body), test.service)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(exampleCaller, got); diff != "" {
				t.Errorf("caller (-want +got):\n%s", diff)
			}
		})
	}
}

// Requests as botocore 1.43 signs and sends them.
func TestVerifyBotocore(t *testing.T) {
	for _, test := range []struct{ name, first, host, headers, body, signed, signature string }{
		{
			"json", "POST /", "127.0.0.1:7070",
			"X-Amz-Target: AmazonSQS.SendMessage\nContent-Type: application/x-amz-json-1.0\nX-Amzn-Query-Mode: true\n",
			`{"MessageBody":"h\u00e9llo"}`, "content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode", "3532de1458b1c0b00d82b3f9d8c26a5238532435010b7f893952869065eb1ddd",
		},
		{
			"form", "POST /000000000000/images", "localhost:7070",
			"Content-Type: application/x-www-form-urlencoded; charset=utf-8\n",
			"Action=SendMessage&MessageBody=a+b%2Bc", "content-type;host;x-amz-date", "7360938307eeee71fd0e58f2f402c7f55ccfdf3b612ba2af089bb1d6c76175ae",
		},
		{
			"query", "GET /?Action=GetQueueUrl&QueueName=a%20b&Version=2012-11-05&a-b=1&a=2&a=%2F&a=-", "localhost:7070", "",
			"", "host;x-amz-date", "bfd2fb8e2ccf2b147c136bc27d2e732b11570ffcdbef12fe9be1267c755149ff",
		},
		{
			"escaped path", "POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Af/invocations?Qualifier=%24LATEST", "localhost:7070",
			"X-Amz-Client-Context: e30=\n",
			"{}", "host;x-amz-client-context;x-amz-date", "5a98e2ce5a5474fc99604f2337df4ead05f07ead7838de3c40e43cecd7c6e039",
		},
		{
			"path with dots", "GET /a//b/./c/../d/", "localhost:7070", "X-Note:   two   spaces  \n",
			"", "host;x-amz-date;x-note", "51bab69964cb80ae9f0c8c970d8eac87b0200991a99658194842e64ead3d79c0",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, _ := read(t, test.first+" HTTP/1.1\nHost: "+test.host+"\n"+test.headers+"X-Amz-Date: 20150830T123600Z\n"+
				"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/sqs/aws4_request, SignedHeaders="+test.signed+", Signature="+test.signature+"\n\n")
			if _, err := example().Verify(r, []byte(test.body), "sqs"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// signedRequest is a good request, as our clients send it.
func signedRequest() (*http.Request, []byte) {
	body := []byte(`{"QueueUrl":"http://localhost:7070/000000000000/images","MessageBody":"hello"}`)
	r := httptest.NewRequest("POST", "http://localhost:7070/000000000000/images?b=2&a=1", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	auth.Sign(r, body, auth.Credentials{ID: exampleKey.ID, Secret: exampleKey.Secret}, "eu-west-1", "sqs", exampleTime)
	return r, body
}

// replace changes the Authorization header of a request.
func replace(from, to string) func(*http.Request, *[]byte) {
	return func(r *http.Request, _ *[]byte) {
		before := r.Header.Get("Authorization")
		after := strings.Replace(before, from, to, 1)
		if after == before {
			panic("nothing to replace: " + from)
		}
		r.Header.Set("Authorization", after)
	}
}

func header(name, value string) func(*http.Request, *[]byte) {
	return func(r *http.Request, _ *[]byte) { r.Header.Set(name, value) }
}

func TestVerifyTampered(t *testing.T) {
	type change = func(r *http.Request, body *[]byte)
	resign := func(f change, date time.Time) change {
		return func(r *http.Request, body *[]byte) {
			f(r, body)
			auth.Sign(r, *body, auth.Credentials{ID: exampleKey.ID, Secret: exampleKey.Secret}, "eu-west-1", "sqs", date)
		}
	}
	nothing := func(*http.Request, *[]byte) {}
	for _, test := range []struct {
		name string
		do   change
		want string
		text string
	}{
		{"nothing", nothing, "", ""},
		{"unsigned header", header("User-Agent", "curl"), "", ""},
		{"parameters in another order", func(r *http.Request, _ *[]byte) { r.URL.RawQuery = "a=1&b=2" }, "", ""},
		{"no spaces after commas", func(r *http.Request, _ *[]byte) {
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), ", ", ","))
		}, "", ""},

		{"method", func(r *http.Request, _ *[]byte) { r.Method = "PUT" }, "signature", ""},
		{"path", func(r *http.Request, _ *[]byte) { r.URL.Path = "/000000000000/other" }, "signature", ""},
		{"escaped slash", func(r *http.Request, _ *[]byte) { r.URL.RawPath = "/000000000000%2Fimages" }, "signature", ""},
		{"query value", func(r *http.Request, _ *[]byte) { r.URL.RawQuery = "b=2&a=2" }, "signature", ""},
		{"query added", func(r *http.Request, _ *[]byte) { r.URL.RawQuery += "&c=3" }, "signature", ""},
		{"host", func(r *http.Request, _ *[]byte) { r.Host = "evil.example" }, "signature", "evil.example"},
		{"body", func(_ *http.Request, b *[]byte) { *b = append(*b, ' ') }, "signature", ""},
		{"body dropped", func(_ *http.Request, b *[]byte) { *b = nil }, "signature", ""},
		{"content type", header("Content-Type", "text/plain"), "signature", ""},
		{"second value", func(r *http.Request, _ *[]byte) { r.Header.Add("Content-Type", "text/plain") }, "signature", ""},
		{"action", header("X-Amz-Target", "AmazonSQS.DeleteQueue"), "signature", ""},
		{"signed header removed", func(r *http.Request, _ *[]byte) { r.Header.Del("Content-Type") }, "signature", "content-type"},
		{"time", header("X-Amz-Date", "20150830T123601Z"), "signature", ""},
		{"date of request", header("X-Amz-Date", "20150831T123600Z"), "signature", "20150830"},
		{"date of scope", replace("/20150830/", "/20150831/"), "signature", "20150831"},
		{"region", replace("eu-west-1", "eu-west-2"), "signature", ""},
		{"service", replace("/sqs/", "/sns/"), "signature", `"sns", want "sqs"`},
		{"terminator", replace("aws4_request", "aws5_request"), "signature", ""},
		{"signature", replace("Signature=", "Signature=0"), "signature", ""},
		{"signature, not hex", func(r *http.Request, _ *[]byte) {
			h := r.Header.Get("Authorization")
			r.Header.Set("Authorization", h[:len(h)-1]+"g")
		}, "signature", ""},
		{"signature, one digit", func(r *http.Request, _ *[]byte) {
			h := r.Header.Get("Authorization")
			digit := "0"
			if strings.HasSuffix(h, digit) {
				digit = "1"
			}
			r.Header.Set("Authorization", h[:len(h)-1]+digit)
		}, "signature", "AKIDEXAMPLE"},
		{"signed headers", replace("content-type;", ""), "signature", ""},

		{"key", replace("AKIDEXAMPLE", "AKIDUNKNOWN"), "unknown", ""},
		{"session token", header("X-Amz-Security-Token", "t"), "unknown", "session token"},
		{"session token, signed", resign(header("X-Amz-Security-Token", "t"), exampleTime), "unknown", "session token"},
		{"empty session token", resign(header("X-Amz-Security-Token", ""), exampleTime), "", ""},

		{"host not signed", replace("content-type;host;", "content-type;"), "malformed", "host"},
		{"action not signed", replace(";x-amz-target", ""), "malformed", "x-amz-target"},
		{"date not signed", replace(";x-amz-date", ""), "malformed", "x-amz-date"},
		{"no date", func(r *http.Request, _ *[]byte) { r.Header.Del("X-Amz-Date") }, "malformed", "X-Amz-Date"},
		{"no date of the form", header("X-Amz-Date", "2015-08-30T12:36:00Z"), "malformed", ""},
		{"fractions of seconds", header("X-Amz-Date", "20150830T123600.5Z"), "malformed", ""},
		{"Date that is none", func(r *http.Request, _ *[]byte) {
			r.Header.Del("X-Amz-Date")
			r.Header.Set("Date", "yesterday")
		}, "malformed", "yesterday"},
		{"no credential", replace("Credential=AKIDEXAMPLE/20150830/eu-west-1/sqs/aws4_request, ", ""), "malformed", "Credential"},
		{"no signed headers", replace("SignedHeaders=content-type;host;x-amz-date;x-amz-target, ", ""), "malformed", "SignedHeaders"},
		{"no signature", replace(", Signature=", ""), "malformed", "Signature"},
		{"credential twice", replace(", Signed", ", Credential=a/b/c/d/e, Signed"), "malformed", "Credential"},
		{"unknown part", replace(", Signed", ", Nonce=1, Signed"), "malformed", ""},
		{"short credential", replace("/eu-west-1", ""), "malformed", "DATE/REGION"},
		{"long credential", replace("aws4_request", "aws4_request/x"), "malformed", ""},
		{"empty region", replace("eu-west-1", ""), "malformed", ""},
		{"upper case", replace("content-type", "Content-Type"), "malformed", "lower case"},
		{"algorithm only", header("Authorization", "AWS4-HMAC-SHA256"), "malformed", ""},

		{"14 minutes old", resign(nothing, exampleTime.Add(-14*time.Minute)), "", ""},
		{"15 minutes early", resign(nothing, exampleTime.Add(15*time.Minute)), "", ""},
		{"too old", resign(nothing, exampleTime.Add(-15*time.Minute-time.Second)), "expired", "signature expired: 20150830T122059Z is now earlier than 20150830T122100Z (20150830T123600Z - 15 min.)"},
		{"too early", resign(nothing, exampleTime.Add(16*time.Minute)), "expired", "signature not yet current: 20150830T125200Z is still later than 20150830T125100Z (20150830T123600Z + 15 min.)"},

		{"hash of the body", resign(header("X-Amz-Content-Sha256", "f3a09538e89dfdf0c38b0d25b5ea9ed4d0e1c4a4c9c87b0f28f5b5e83a5bd1ee"), exampleTime), "signature", "X-Amz-Content-Sha256"},
		{"unsigned payload", resign(header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), exampleTime), "signature", "UNSIGNED-PAYLOAD"},
		{"chunks", resign(header("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), exampleTime), "signature", "chunks"},

		{"in the query", func(r *http.Request, _ *[]byte) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"
		}, "malformed", "query string has no X-Amz-Credential"},
		{"in both", func(r *http.Request, _ *[]byte) { r.URL.RawQuery += "&X-Amz-Signature=00" }, "malformed", "want one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// Twice: the second time the signing key is remembered.
			a := example()
			for range 2 {
				r, body := signedRequest()
				if _, err := a.Verify(r, body, "sqs"); err != nil {
					t.Fatalf("before the change: %v", err)
				}
			}
			for _, a := range []*auth.Authenticator{a, example()} {
				r, body := signedRequest()
				test.do(r, &body)
				got, err := a.Verify(r, body, "sqs")
				if kind(err) != test.want {
					t.Fatalf("error: got %v, want %q", err, test.want)
				}
				if err == nil {
					if diff := cmp.Diff(exampleCaller, got); diff != "" {
						t.Errorf("caller (-want +got):\n%s", diff)
					}
					continue
				}
				if !strings.Contains(err.Error(), test.text) {
					t.Errorf("error: got %q, want %q in it", err, test.text)
				}
				if diff := cmp.Diff(auth.Caller{}, got); diff != "" {
					t.Errorf("a caller beside an error (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// A remembered signing key must not outlive its secret, nor its key.
func TestVerifyReplacedKey(t *testing.T) {
	known := keys{exampleKey.ID: exampleKey}
	a := &auth.Authenticator{Keys: known, Now: func() time.Time { return exampleTime }}
	r, body := signedRequest()
	for range 2 {
		if _, err := a.Verify(r, body, "sqs"); err != nil {
			t.Fatal(err)
		}
	}
	replaced := exampleKey
	replaced.Secret = "another"
	known[exampleKey.ID] = replaced
	if _, err := a.Verify(r, body, "sqs"); kind(err) != "signature" {
		t.Errorf("with the former secret: got %v, want %v", err, auth.ErrSignature)
	}
	delete(known, exampleKey.ID)
	if _, err := a.Verify(r, body, "sqs"); kind(err) != "unknown" {
		t.Errorf("with a deleted key: got %v, want %v", err, auth.ErrUnknownKey)
	}
}

// Signing keys, their MACs and buffers are shared by all requests.
func TestVerifyConcurrent(t *testing.T) {
	a := example()
	var group errgroup.Group
	for worker := range 8 {
		group.Go(func() error {
			for i := range 100 {
				body := fmt.Appendf(nil, "%d %d", worker, i)
				r := httptest.NewRequest("POST", fmt.Sprintf("/%d", i), nil)
				// Eight regions, so that workers share some keys and make others.
				region := fmt.Sprintf("region-%d", (worker+i)%8)
				auth.Sign(r, body, auth.Credentials{ID: exampleKey.ID, Secret: exampleKey.Secret}, region, "sqs", exampleTime)
				if _, err := a.Verify(r, body, "sqs"); err != nil {
					return err
				}
				if _, err := a.Verify(r, body[1:], "sqs"); kind(err) != "signature" {
					return fmt.Errorf("another body: got %w, want %w", err, auth.ErrSignature)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// An Authorization header that is not one of ours is refused with one of our
// errors, whatever it is.
func FuzzAuthorization(f *testing.F) {
	r, body := signedRequest()
	good := r.Header.Get("Authorization")
	signature := good[len(good)-64:]
	f.Add(good)
	f.Add(strings.ReplaceAll(good, ", ", ","))
	for _, s := range []string{
		"", " ", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 ,,,", "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;, Signature=",
		"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=" + signature,
		"Bearer a.b", "Simple .", "a.b", "Bearer",
	} {
		f.Add(s)
	}
	a := example()
	f.Fuzz(func(t *testing.T, header string) {
		r.Header["Authorization"] = []string{header}
		_, err := a.Verify(r, body, "sqs")
		switch {
		case err == nil:
			for _, part := range []string{"AKIDEXAMPLE/20150830/eu-west-1/sqs/aws4_request", "=content-type;host;x-amz-date;x-amz-target"} {
				if !strings.Contains(header, part) {
					t.Errorf("accepted without %q: %q", part, header)
				}
			}
			if !strings.Contains(strings.ToLower(header), signature) {
				t.Errorf("accepted without the signature: %q", header)
			}
		case sentinels[kind(err)] == nil:
			t.Errorf("%q: got %v, want one of the sentinels", header, err)
		}
	})
}
