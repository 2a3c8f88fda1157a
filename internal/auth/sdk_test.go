package auth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/runnel-io/runnel/internal/auth"
)

// What is signed, in all combinations.
var (
	oddPaths = []string{
		"", "/", "/000000000000/images", "/a/", "//", "/a//b", "/a/./b/../c", "/...", "/a%20b", "/a%2Fb", "/a%252Fb", "/a+b", "/a:b@c,d;e=f!$&'()*",
		"/%E2%82%AC/\u20ac", "/%00%01%7F", "/~tilde_-.", "/arn%3Aaws%3Asqs", "/%61", "/[x]", "/\"", "/" + strings.Repeat("long/", 200),
	}
	oddQueries = []string{
		"", "Action=SendMessage", "b=2&a=1", "a=2&a=1&a=10&a", "a=&b", "a-b=1&a=1&a%3Db=1", "x=a%2Fb&x=a-b", "q=a+b&r=a%20b&s=a%2Bb", "u=%E2%82%AC", "A=1&a=1&B=1",
		"=novalue&x=1", "a=b=c", "&&a=1&&", "t=~-._!*'()", "p=100%25", strings.Repeat("k=v&", 100) + "z=1",
	}
	oddHeaders = []http.Header{
		{},
		{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {"AmazonSQS.ReceiveMessage"}},
		{"X-Amz-Meta-Spaces": {"  a   b    c  "}, "X-Amz-Meta-Tabs": {"\ta \t b\t"}, "X-Amz-Empty": {""}},
		{"X-Amz-Meta-Many": {"one", "two,three", " four "}, "X-Amz-A_b": {"1"}, "X-Amz-Ab": {"2"}, "X-Amz-A-B": {"3"}},
		{"X-Amz-Meta-Unicode": {"h\u00e9llo \u20ac"}, "Content-Type": {"text/plain; charset=\"utf-8\""}},
		{"X-Amz-" + strings.Repeat("L", 1) + strings.Repeat("l", 80): {"x"}},
	}
	oddBodies = []string{"", "{}", "\x00\xff", strings.Repeat("x", 5000)}
)

// oddRequests calls f with every combination that the paths, queries, headers
// and bodies make with the first of the others, and some more.
func oddRequests(t *testing.T, f func(t *testing.T, r *http.Request, body []byte)) {
	t.Helper()
	request := func(path, query string, h http.Header, body string) {
		url := "http://localhost:7070" + path
		if query != "" {
			url += "?" + query
		}
		r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
		if err != nil {
			t.Fatalf("%q: %v", url, err)
		}
		r.Header = h.Clone()
		f(t, r, []byte(body))
	}
	for _, path := range oddPaths {
		for _, query := range oddQueries {
			request(path, query, oddHeaders[1], "{}")
		}
	}
	for _, h := range oddHeaders {
		for _, body := range oddBodies {
			request("/a%20b", "b=2&a=%2F", h, body)
		}
	}
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

var exampleAWS = aws.Credentials{AccessKeyID: exampleKey.ID, SecretAccessKey: exampleKey.Secret}

// What the SDK signs, and a server reads from the wire, Verify accepts.
func TestVerifySDK(t *testing.T) {
	a := example()
	var got error
	var verified int
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = a.Verify(r, body, "sqs")
		}
		got = err
		verified++
	}))
	defer server.Close()
	sent := 0
	oddRequests(t, func(t *testing.T, r *http.Request, body []byte) {
		r.URL.Host = server.Listener.Addr().String()
		r.Host = "sqs.example:7070" // not where the connection goes
		if err := v4.NewSigner().SignHTTP(t.Context(), exampleAWS, r, hash(body), "sqs", "us-east-1", exampleTime); err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatalf("%s: %v", r.URL, err)
		}
		_ = answer.Body.Close()
		if got != nil {
			t.Errorf("%s %q: %v", r.URL, r.Header, got)
		}
		sent++
	})
	if verified != sent || sent < 300 {
		t.Errorf("verified %d of %d requests", verified, sent)
	}
}

// What we sign is what the SDK signs.
func TestSignSDK(t *testing.T) {
	oddRequests(t, func(t *testing.T, r *http.Request, body []byte) {
		theirs := r.Clone(t.Context())
		theirs.ContentLength = 0 // which the SDK signs, and we do not
		if err := v4.NewSigner().SignHTTP(t.Context(), exampleAWS, theirs, hash(body), "sqs", "us-east-1", exampleTime); err != nil {
			t.Fatal(err)
		}
		auth.Sign(r, body, auth.Credentials{ID: exampleKey.ID, Secret: exampleKey.Secret}, "us-east-1", "sqs", exampleTime)
		for _, name := range []string{"Authorization", "X-Amz-Date"} {
			if got, want := r.Header.Get(name), theirs.Header.Get(name); got != want {
				t.Errorf("%s %q: %s\n got %s\nwant %s", r.URL, r.Header, name, got, want)
			}
		}
		if _, err := example().Verify(r, body, "sqs"); err != nil {
			t.Errorf("%s %q: %v", r.URL, r.Header, err)
		}
	})
}

// A Date header instead of X-Amz-Date, and the hash of the body, as other
// signers have them.
func TestVerifyOtherHeaders(t *testing.T) {
	body := []byte("{}")
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("X-Amz-Content-Sha256", hash(body))
	r.Header.Set("User-Agent", "curl/8.0  ")
	r.Header.Set("Content-Length", "2")
	if err := v4.NewSigner().SignHTTP(t.Context(), exampleAWS, r, hash(body), "sqs", "us-east-1", exampleTime); err != nil {
		t.Fatal(err)
	}
	if _, err := example().Verify(r, body, "sqs"); err != nil {
		t.Errorf("with the hash of the body: %v", err)
	}

	// Computed apart from this package: the canonical request is
	// "GET\n/\n\ndate:Sun, 30 Aug 2015 12:36:00 GMT\nhost:example.amazonaws.com\n\ndate;host\n" and the hash of nothing.
	r = httptest.NewRequest("GET", "/", nil)
	r.Host = "example.amazonaws.com"
	r.Header.Set("Date", "Sun, 30 Aug 2015 12:36:00 GMT")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/sqs/aws4_request, SignedHeaders=date;host, Signature=3cc1d2e23bdfb05abd5acd11ba1e9de3fcc192a33ddc5dcd19ffb305a9db73ba")
	if _, err := example().Verify(r, nil, "sqs"); err != nil {
		t.Errorf("with Date: %v", err)
	}
}

// The SDK's SQS client, with everything that it puts into a request.
func TestVerifySQSClient(t *testing.T) {
	key := auth.NewKey("acme", "123456789012", false, time.Now())
	a := &auth.Authenticator{Keys: keys{key.ID: key}}
	errs := make(chan error, 1) // one per request; never closed
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = a.Verify(r, body, "sqs")
		}
		errs <- err
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	client := func(secret, session string) *sqs.Client {
		return sqs.New(sqs.Options{
			Region: "eu-central-1", BaseEndpoint: &server.URL, Retryer: aws.NopRetryer{},
			Credentials:                      credentials.NewStaticCredentialsProvider(key.ID, secret, session),
			DisableMessageChecksumValidation: true,
		})
	}
	for _, test := range []struct{ name, secret, session, want string }{
		{"good", key.Secret, "", ""},
		{"wrong secret", key.Secret + "x", "", "signature"},
		{"session token", key.Secret, "token", "unknown"},
	} {
		if _, err := client(test.secret, test.session).SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: aws.String(server.URL + "/123456789012/images"), MessageBody: aws.String("h\u00e9llo \u20ac"),
		}); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if err := <-errs; kind(err) != test.want {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1000)
	r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	c := auth.Credentials{ID: exampleKey.ID, Secret: exampleKey.Secret}
	b.ReportAllocs()
	for b.Loop() {
		auth.Sign(r, body, c, "us-east-1", "sqs", exampleTime)
	}
}

func BenchmarkVerifyToken(b *testing.B) {
	r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
	r.Header.Set("Authorization", "Bearer "+exampleKey.Token())
	a := example()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Verify(r, nil, "sqs"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{100, 1000, 10_000} {
		body := bytes.Repeat([]byte("x"), size)
		r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
		r.Header.Set("Amz-Sdk-Invocation-Id", "8c7a6b1e-5b0c-4a51-9a5a-0a4f6b1e5b0c")
		r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
		if err := v4.NewSigner().SignHTTP(b.Context(), exampleAWS, r, hash(body), "sqs", "us-east-1", exampleTime); err != nil {
			b.Fatal(err)
		}
		a := example()
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Verify(r, body, "sqs"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
