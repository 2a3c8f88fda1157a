package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// TestTrustedProxy: what a proxy says of a request counts only if it is trusted.
func TestTrustedProxy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what         string
		trusted      []string
		url, address string
	}{
		{"none is trusted", nil, "http://127.0.0.1", "127.0.0.1"},
		{"another is trusted", []string{"10.0.0.0/8"}, "http://127.0.0.1", "127.0.0.1"},
		{"it is trusted", []string{"10.0.0.0/8", "127.0.0.1"}, "https://queues.example.com/", "203.0.113.9"},
	} {
		cfg := config(t)
		cfg.TrustedProxies = test.trusted
		var key server.Key
		r := serving(t, cfg, &key)
		said := http.Header{
			"X-Forwarded-For": {"198.51.100.1", "203.0.113.9, 10.1.2.3"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"queues.example.com"},
			"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {"AmazonSQS.CreateQueue"},
		}
		status, body := r.call(t, "POST", "/", said, `{"QueueName":"images"}`)
		if status != 200 || !strings.Contains(body, `"QueueUrl":"`+test.url) {
			t.Errorf("%s: got %d %s, want a URL that begins with %s", test.what, status, body, test.url)
		}
		r.call(t, "PUT", "/api/v1/accounts/acme", http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": said["X-Forwarded-For"]}, `{}`)
		if _, log := r.call(t, "GET", "/api/v1/audit?name=acme", nil, ""); !strings.Contains(log, `"address":"`+test.address+`"`) {
			t.Errorf("%s: the audit log has no %s: %s", test.what, test.address, log)
		}
	}
	cfg := config(t)
	cfg.Dev, cfg.TrustedProxies = false, []string{"proxy.example.com"}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "trusted_proxies[0]") {
		t.Errorf("a name as a network: got %v", err)
	}
}
