package auth_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/auth"
)

// presign signs a request in its query, by the SDK, and returns it as it is
// sent. expires may be empty.
func presign(t *testing.T, c aws.Credentials, method, url, body, expires string, at time.Time) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if expires != "" {
		q := r.URL.Query()
		q.Set("X-Amz-Expires", expires)
		r.URL.RawQuery = q.Encode()
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	signed, headers, err := v4.NewSigner().PresignHTTP(t.Context(), c, r, hash([]byte(body)), "sqs", "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
	out, err := http.NewRequestWithContext(t.Context(), method, signed, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range headers {
		if name != "Host" {
			out.Header[name] = values
		}
	}
	return out
}

// What the SDK presigns, and a server reads from the wire, Verify accepts: by
// GET and POST, on any path, with and without a session.
func TestVerifyPresignedSDK(t *testing.T) {
	a := example()
	session, err := auth.NewSession(exampleKey, time.Hour, exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	var got auth.Caller
	var failed error
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			got, err = a.Verify(r, body, "sqs")
		}
		failed = err
	}))
	defer server.Close()
	for _, c := range []aws.Credentials{exampleAWS, {AccessKeyID: session.ID, SecretAccessKey: session.Secret, SessionToken: session.Token}} {
		for _, path := range []string{"/", "/123456789012/images", "/a%20b", "/a//b/./c"} {
			for _, query := range []string{"", "Action=SendMessage&MessageBody=a%2Bb+c%20d&Attribute.1.Name=x", "u=%E2%82%AC&a=2&a=1&a-b=1"} {
				for _, expires := range []string{"", "1", "604800"} {
					for method, body := range map[string]string{"GET": "", "POST": "Action=ReceiveMessage&MessageBody=a+b"} {
						r := presign(t, c, method, server.URL+path+"?"+query, body, expires, exampleTime)
						answer, err := server.Client().Do(r)
						if err != nil {
							t.Fatal(err)
						}
						_ = answer.Body.Close()
						want := exampleCaller
						want.KeyID = c.AccessKeyID
						if diff := cmp.Diff(want, got); failed != nil || diff != "" {
							t.Errorf("%s %s: %v (-want +got):\n%s", method, r.URL, failed, diff)
						}
					}
				}
			}
		}
	}
}

func TestVerifyPresignedTampered(t *testing.T) {
	const url, body = "http://localhost:7070/123456789012/images?Action=SendMessage&b=2", "MessageBody=x"
	change := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			before := r.URL.RawQuery
			if r.URL.RawQuery = strings.Replace(before, from, to, 1); r.URL.RawQuery == before {
				panic("nothing to replace: " + from)
			}
		}
	}
	drop := func(name string) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			q.Del(name)
			r.URL.RawQuery = q.Encode()
		}
	}
	nothing := func(*http.Request) {}
	week := 7 * 24 * time.Hour
	for _, test := range []struct {
		name    string
		do      func(*http.Request)
		expires string
		age     time.Duration
		want    string
		text    string
	}{
		{"nothing", nothing, "60", 0, "", ""},
		{"parameters in another order", func(r *http.Request) { r.URL.RawQuery = r.URL.Query().Encode() }, "60", 0, "", ""},
		{"at its end", nothing, "60", time.Minute, "", ""},
		{"after its end", nothing, "60", time.Minute + time.Second, "expired", "signature expired: 20150830T123459Z is now earlier than 20150830T123500Z (20150830T123600Z - 1 min.)"},
		{"a week", nothing, "604800", week, "", ""},
		{"over a week", nothing, "604800", week + time.Second, "expired", "signature expired"},
		{"no expiry, 15 minutes", nothing, "", 15 * time.Minute, "", ""},
		{"no expiry, more", nothing, "", 15*time.Minute + time.Second, "expired", "- 15 min."},
		{"in the future", nothing, "60", -15 * time.Minute, "", ""},
		{"too far in the future", nothing, "604800", -15*time.Minute - time.Second, "expired", "signature not yet current"},
		{"too long", nothing, "604801", 0, "malformed", "604800"},
		{"for no time", nothing, "0", 0, "malformed", "X-Amz-Expires"},
		{"for less", nothing, "-1", 0, "malformed", "X-Amz-Expires"},
		{"for no number", nothing, "1h", 0, "malformed", "X-Amz-Expires"},

		{"expiry changed", change("X-Amz-Expires=60", "X-Amz-Expires=61"), "60", 0, "signature", ""},
		{"expiry dropped", drop("X-Amz-Expires"), "60", 0, "signature", ""},
		{"action changed", change("SendMessage", "DeleteQueue"), "60", 0, "signature", ""},
		{"parameter added", func(r *http.Request) { r.URL.RawQuery += "&c=3" }, "60", 0, "signature", ""},
		{"method", func(r *http.Request) { r.Method = "PUT" }, "60", 0, "signature", ""},
		{"path", func(r *http.Request) { r.URL.Path = "/123456789012/other" }, "60", 0, "signature", ""},
		{"host", func(r *http.Request) { r.Host = "evil.example" }, "60", 0, "signature", "evil.example"},
		{"content type", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, "60", 0, "signature", ""},
		{"action in an unsigned header", func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonSQS.DeleteQueue") }, "60", 0, "malformed", "x-amz-target"},
		{"key", change("AKIDEXAMPLE", "AKIDUNKNOWN"), "60", 0, "unknown", ""},
		{"session token added", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Security-Token=t" }, "60", 0, "unknown", "session token"},
		{"service", change("%2Fsqs%2F", "%2Fsns%2F"), "60", 0, "signature", `"sns", want "sqs"`},
		{"algorithm", change("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "60", 0, "malformed", "AWS4-HMAC-SHA256"},
		{"date changed", change("X-Amz-Date=20150830T123600Z", "X-Amz-Date=20150830T123601Z"), "60", 0, "signature", ""},
		{"day changed", change("X-Amz-Date=20150830", "X-Amz-Date=20150829"), "604800", 0, "signature", "20150830"},
		{"date of another form", change("X-Amz-Date=20150830T123600Z", "X-Amz-Date=20150830"), "60", 0, "malformed", "X-Amz-Date"},
		{"signature cut", func(r *http.Request) { r.URL.RawQuery = r.URL.RawQuery[:len(r.URL.RawQuery)-1] }, "60", 0, "signature", "63 characters"},
		{"signature twice", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=00" }, "60", 0, "malformed", "more than one"},
		{"no signature", drop("X-Amz-Signature"), "60", 0, "malformed", "X-Amz-Signature"},
		{"no credential", drop("X-Amz-Credential"), "60", 0, "malformed", "X-Amz-Credential"},
		{"no date", drop("X-Amz-Date"), "60", 0, "malformed", "X-Amz-Date"},
		{"no signed headers", drop("X-Amz-SignedHeaders"), "60", 0, "malformed", "X-Amz-SignedHeaders"},
		{"host not signed", change("%3Bhost", ""), "60", 0, "malformed", "host"},
		{"not well-formed", change("X-Amz-Credential=", "X-Amz-Credential=%zz"), "60", 0, "malformed", "X-Amz-Credential"},
		{"unsigned body", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD" }, "60", 0, "signature", "UNSIGNED-PAYLOAD"},
		{"a key in the header too", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+exampleKey.Token()) }, "60", 0, "malformed", "want one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := example()
			at := exampleTime.Add(-test.age)
			good := presign(t, exampleAWS, "POST", url, body, "604800", at)
			if _, err := a.Verify(good, []byte(body), "sqs"); err != nil && test.age <= week && test.age > -15*time.Minute {
				t.Fatalf("before the change: %v", err)
			}
			r := presign(t, exampleAWS, "POST", url, body, test.expires, at)
			test.do(r)
			got, err := a.Verify(r, []byte(body), "sqs")
			if kind(err) != test.want {
				t.Fatalf("error: got %v, want %q", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("error: got %q, want %q in it", err, test.text)
			}
			if err != nil && !cmp.Equal(got, auth.Caller{}) {
				t.Errorf("a caller beside an error: %+v", got)
			}
		})
	}
	r := presign(t, exampleAWS, "POST", url, body, "60", exampleTime)
	if _, err := example().Verify(r, []byte(body+"&a=b"), "sqs"); kind(err) != "signature" {
		t.Errorf("another body: %v", err)
	}
}
