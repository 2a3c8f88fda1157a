package sqs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/api/sqs"
	"github.com/runnel-io/runnel/internal/auth"
)

// signed is an environment with one key, and requests that the SDK signs.
type signedEnv struct {
	*env
	key auth.Key
}

func newSignedEnv(t *testing.T) signedEnv {
	key := auth.NewKey("default", "000000000000", false, time.Now())
	e := newEnv(t, func(c *sqs.Config) {
		c.Auth = &auth.Authenticator{Keys: keyMap{keys: map[string]auth.Key{key.ID: key}}}
	})
	e.create("q", nil)
	return signedEnv{e, key}
}

func payload(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// presigned returns a request in the query protocol with the signature in its
// query string.
func (e signedEnv) presigned(t *testing.T, c aws.Credentials, method, path, query, body, expires string, at time.Time) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, e.server.URL+path+"?"+query+"&X-Amz-Expires="+expires, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	url, headers, err := v4.NewSigner().PresignHTTP(t.Context(), c, r, payload(body), "sqs", "eu-central-1", at)
	if err != nil {
		t.Fatal(err)
	}
	out, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	headers.Del("Host")
	out.Header = headers
	return out
}

func (e signedEnv) session(t *testing.T, life time.Duration, at time.Time) aws.Credentials {
	t.Helper()
	s, err := auth.NewSession(e.key, life, at)
	if err != nil {
		t.Fatal(err)
	}
	return aws.Credentials{AccessKeyID: s.ID, SecretAccessKey: s.Secret, SessionToken: s.Token}
}

// TestPresigned sends what the SDK presigned by GET and POST, to / and to the
// queue's path, with the parameters in the query, the body or both.
func TestPresigned(t *testing.T) {
	e := newSignedEnv(t)
	key := aws.Credentials{AccessKeyID: e.key.ID, SecretAccessKey: e.key.Secret}
	for _, by := range []struct {
		credentials aws.Credentials
		expires     string
		age         time.Duration
	}{{key, "604800", 6 * 24 * time.Hour}, {key, "60", 0}, {e.session(t, time.Hour, time.Now()), "60", 0}} {
		for _, test := range []struct{ method, path, query, body string }{
			{"GET", "/", "Action=SendMessage&QueueUrl=q&MessageBody=a%2Bb+c", ""},
			{"GET", "/000000000000/q", "Action=SendMessage&Version=2012-11-05&MessageBody=a%2Bb%20c", ""},
			{"POST", "/", "Action=SendMessage&QueueUrl=q", "MessageBody=a%2Bb+c"},
			{"POST", "/000000000000/q", "DelaySeconds=0", "Action=SendMessage&MessageBody=a%2Bb+c"},
			{"POST", "/000000000000/q", "Action=SendMessage&MessageBody=a%2Bb+c", ""},
		} {
			a := e.send(e.presigned(t, by.credentials, test.method, test.path, test.query, test.body, by.expires, time.Now().Add(-by.age)))
			if _, text := xmlAnswer(t, a); a.status != 200 || !strings.Contains(text, "<MD5OfMessageBody>"+md5Hex("a+b c")+"<") {
				t.Errorf("%+v: %d %s", test, a.status, text)
			}
		}
	}
	if d := e.queue("q").Depth(); d.Visible != 15 {
		t.Errorf("depth %+v, want 15 messages", d)
	}
}

// TestAuthRefusals has a signature refused for every reason, in the header with
// JSON and with a form, and in the query string.
func TestAuthRefusals(t *testing.T) {
	e := newSignedEnv(t)
	now := time.Now()
	key := aws.Credentials{AccessKeyID: e.key.ID, SecretAccessKey: e.key.Secret}
	session, ended := e.session(t, time.Hour, now), e.session(t, time.Hour, now.Add(-2*time.Hour))
	wrong, unknown, mixed, tokenless := key, key, session, session
	wrong.SecretAccessKey += "x"
	unknown.AccessKeyID = "RKAAAAAAAAAAAAAAAAAA"
	mixed.AccessKeyID, mixed.SecretAccessKey = key.AccessKeyID, key.SecretAccessKey // the token is checked, not ignored
	tokenless.SessionToken = ""
	const body, form = `{"QueueNamePrefix":"x"}`, "Action=ListQueues&QueueNamePrefix=x"
	for _, test := range []struct {
		name        string
		credentials aws.Credentials
		at          time.Time
		status      int
		shape, code string
		message     string // its beginning
	}{
		{"good", key, now, 200, "", "", ""},
		{"session", session, now, 200, "", "", ""},
		{"14 minutes old", key, now.Add(-14 * time.Minute), 200, "", "", ""},
		{"16 minutes old", key, now.Add(-16 * time.Minute), 403, "InvalidSignatureException", "SignatureDoesNotMatch", "Signature expired: "},
		{"16 minutes early", key, now.Add(16 * time.Minute), 403, "InvalidSignatureException", "SignatureDoesNotMatch", "Signature not yet current: "},
		{"wrong secret", wrong, now, 403, "InvalidSignatureException", "SignatureDoesNotMatch", "The signature "},
		{"unknown key", unknown, now, 403, "UnrecognizedClientException", "InvalidClientTokenId", "The server has no key "},
		{"ended session", ended, now, 403, "ExpiredTokenException", "ExpiredToken", "The session "},
		{"token with a key", mixed, now, 403, "UnrecognizedClientException", "InvalidClientTokenId", "The session token "},
		{"session without its token", tokenless, now, 403, "UnrecognizedClientException", "InvalidClientTokenId", "The server has no key "},
	} {
		t.Run(test.name, func(t *testing.T) {
			sign := func(r *http.Request, body string) answer {
				t.Helper()
				if err := v4.NewSigner().SignHTTP(t.Context(), test.credentials, r, payload(body), "sqs", "eu-central-1", test.at); err != nil {
					t.Fatal(err)
				}
				return e.send(r)
			}
			inJSON := sign(e.request(t.Context(), "ListQueues", body), body)
			inForms := map[string]answer{
				"form":         sign(e.formRequest("POST", "/", form), form),
				"query string": sign(e.formRequest("GET", "/", form), ""),
				"presigned":    e.send(e.presigned(t, test.credentials, "GET", "/", form, "", "900", test.at)),
			}
			if test.status == 200 {
				if inJSON.status != 200 {
					t.Errorf("JSON: %d %s", inJSON.status, inJSON.body)
				}
				for name, a := range inForms {
					if a.status != 200 {
						t.Errorf("%s: %d %s", name, a.status, a.body)
					}
				}
				return
			}
			got := refused(t, inJSON)
			if !strings.HasPrefix(got.Message, test.message) {
				t.Errorf("JSON: %s", got.Message)
			}
			got.Message = ""
			if diff := cmp.Diff(refusal{test.status, commonType + test.shape, test.code + ";Sender", ""}, got); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			for name, a := range inForms {
				got := queryRefused(t, a)
				if !strings.HasPrefix(got.Message, test.message) {
					t.Errorf("%s: %s", name, got.Message)
				}
				got.Message = ""
				if diff := cmp.Diff(queryRefusal{test.status, "Sender", test.code, ""}, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}

	for name, test := range map[string]struct {
		query, authorization string
		status               int
		code                 string
	}{
		"nothing":               {"", "", 403, "MissingAuthenticationToken"},
		"half a header":         {"", "AWS4-HMAC-SHA256 Credential=x", 400, "IncompleteSignature"},
		"half a query":          {"&X-Amz-Signature=00", "", 400, "IncompleteSignature"},
		"no algorithm of ours":  {"", "AWS3-HTTPS x", 400, "IncompleteSignature"},
		"header and presigned":  {"&X-Amz-Signature=00", "AWS4-HMAC-SHA256 Credential=x", 400, "IncompleteSignature"},
		"more than a week":      {"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20150830/b/sqs/aws4_request&X-Amz-Date=20150830T000000Z&X-Amz-SignedHeaders=host&X-Amz-Expires=604801&X-Amz-Signature=" + payload(""), "", 400, "IncompleteSignature"},
		"presigned long ago":    {"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20150830/b/sqs/aws4_request&X-Amz-Date=20150830T000000Z&X-Amz-SignedHeaders=host&X-Amz-Expires=604800&X-Amz-Signature=" + payload(""), "", 403, "SignatureDoesNotMatch"},
		"a key that is no more": {"", "Bearer RKAAAAAAAAAAAAAAAAAA.x", 403, "InvalidClientTokenId"},
	} {
		r := e.formRequest("GET", "/", form+test.query)
		if test.authorization != "" {
			r.Header.Set("Authorization", test.authorization)
		}
		if got := queryRefused(t, e.send(r)); got.Status != test.status || got.Code != test.code || got.Message == "" {
			t.Errorf("%s: got %+v, want %d %s", name, got, test.status, test.code)
		}
	}
}
