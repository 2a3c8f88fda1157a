package sqs_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/api/sqs"
	"github.com/runnel-io/runnel/internal/queue"
)

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// attributes returns the attributes of a queue, all but the timestamps.
func (e *env) attributes(url string, names ...string) map[string]string {
	e.t.Helper()
	quoted, _ := json.Marshal(names)
	a := e.ok("GetQueueAttributes", `{"QueueUrl":"`+url+`","AttributeNames":`+string(quoted)+`}`)
	var v struct{ Attributes map[string]string }
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		e.t.Fatal(err)
	}
	for _, name := range []string{"CreatedTimestamp", "LastModifiedTimestamp"} {
		if s, ok := v.Attributes[name]; ok && len(s) != 10 {
			e.t.Errorf("%s: got %s, want seconds", name, s)
		}
		delete(v.Attributes, name)
	}
	return v.Attributes
}

func TestQueueAttributes(t *testing.T) {
	e := newEnv(t, func(c *sqs.Config) { c.Region = "eu-central-1" })
	e.create("dead", nil)
	e.ok("CreateQueue", `{"QueueName":"q"}`)
	want := map[string]string{
		"QueueArn":                              "arn:aws:sqs:eu-central-1:000000000000:q",
		"ApproximateNumberOfMessages":           "0",
		"ApproximateNumberOfMessagesNotVisible": "0",
		"ApproximateNumberOfMessagesDelayed":    "0",
		"VisibilityTimeout":                     "30",
		"DelaySeconds":                          "0",
		"MessageRetentionPeriod":                "345600",
		"ReceiveMessageWaitTimeSeconds":         "0",
		"MaximumMessageSize":                    "1048576",
	}
	if diff := cmp.Diff(want, e.attributes("q", "All")); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}

	const policy = `{\"Version\":\"2012-10-17\",\"Statement\":[]}`
	const redrive = `{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:dead\",\"maxReceiveCount\":\"3\"}`
	const allow = `{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"arn:aws:sqs:eu-central-1:000000000000:a\"]}`
	e.ok("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"VisibilityTimeout":"0","DelaySeconds":"900","MessageRetentionPeriod":"1209600",`+
		`"ReceiveMessageWaitTimeSeconds":"20","MaximumMessageSize":1024,"RedrivePolicy":"`+redrive+`","RedriveAllowPolicy":"`+allow+`","Policy":"`+policy+`",`+
		`"KmsMasterKeyId":"alias/k","KmsDataKeyReusePeriodSeconds":"86400","SqsManagedSseEnabled":"false"}}`)
	maps.Copy(want, map[string]string{
		"VisibilityTimeout": "0", "DelaySeconds": "900", "MessageRetentionPeriod": "1209600", "ReceiveMessageWaitTimeSeconds": "20", "MaximumMessageSize": "1024",
		"RedrivePolicy":      `{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:000000000000:dead","maxReceiveCount":3}`,
		"RedriveAllowPolicy": strings.ReplaceAll(allow, `\`, ``),
		"Policy":             strings.ReplaceAll(policy, `\`, ``),
		"KmsMasterKeyId":     "alias/k", "KmsDataKeyReusePeriodSeconds": "86400", "SqsManagedSseEnabled": "false",
	})
	if diff := cmp.Diff(want, e.attributes("q", "All")); diff != "" {
		t.Errorf("all set (-want +got):\n%s", diff)
	}

	// One bad value changes nothing.
	if a := e.do("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"DelaySeconds":"1","KmsMasterKeyId":"other","VisibilityTimeout":"-1"}}`); a.status != 400 {
		t.Errorf("bad value: status %d", a.status)
	}
	if diff := cmp.Diff(want, e.attributes("q", "All")); diff != "" {
		t.Errorf("after a bad value (-want +got):\n%s", diff)
	}

	e.ok("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"RedrivePolicy":"","Policy":"","RedriveAllowPolicy":"","KmsMasterKeyId":"","KmsDataKeyReusePeriodSeconds":"","SqsManagedSseEnabled":""}}`)
	for _, name := range []string{"RedrivePolicy", "Policy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"} {
		delete(want, name)
	}
	if diff := cmp.Diff(want, e.attributes("q", "All", "All", "QueueArn")); diff != "" {
		t.Errorf("taken away (-want +got):\n%s", diff)
	}
	e.want(t, "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{}}`, "")

	if diff := cmp.Diff(map[string]string{"DelaySeconds": "900"}, e.attributes("q", "DelaySeconds", "Policy")); diff != "" {
		t.Errorf("by name (-want +got):\n%s", diff)
	}
	for _, body := range []string{`{"QueueUrl":"q"}`, `{"QueueUrl":"q","AttributeNames":["Policy"]}`} {
		e.want(t, "GetQueueAttributes", body, `{}`)
	}
}

func TestCounts(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	for range 3 {
		e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"x"}`)
	}
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"x","DelaySeconds":60}`)
	e.ok("ReceiveMessage", `{"QueueUrl":"q"}`)
	want := map[string]string{"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1", "ApproximateNumberOfMessagesDelayed": "1"}
	if diff := cmp.Diff(want, e.attributes("q", slices.Collect(maps.Keys(want))...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCreateQueue(t *testing.T) {
	e := newEnv(t, nil)
	e.create("dead", nil)
	url := `{"QueueUrl":"` + e.server.URL + `/000000000000/q"}`
	const redrive = `"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:dead\"`
	e.want(t, "CreateQueue", `{"QueueName":"q","tags":{"team":"a","empty":""},"Attributes":{"DelaySeconds":"5",`+redrive+`}","Policy":"{}"}}`, url)
	s, _ := e.queue("q").Settings()
	if diff := cmp.Diff(map[string]string{"team": "a", "empty": ""}, s.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if want := (queue.Redrive{Queue: "dead", MaxReceives: 10}); s.DeadLetter == nil || *s.DeadLetter != want {
		t.Errorf("redrive: got %+v, want %+v", s.DeadLetter, want)
	}
	for _, same := range []string{
		`{"QueueName":"q"}`,
		`{"QueueName":"q","Attributes":{}}`,
		`{"QueueName":"q","Attributes":{"VisibilityTimeout":"30"},"Tags":{"team":"b"}}`,
		`{"QueueName":"q","Attributes":{"Policy":"{}",` + redrive + `,\"maxReceiveCount\":\"10\"}","DelaySeconds":"5"}}`,
	} {
		e.want(t, "CreateQueue", same, url)
	}
	for _, attribute := range []string{`"DelaySeconds":"0"`, `"Policy":"[]"`, redrive + `,\"maxReceiveCount\":9}"`, `"KmsMasterKeyId":"k"`, `"RedrivePolicy":""`} {
		a := e.do("CreateQueue", `{"QueueName":"q","Attributes":{`+attribute+`}}`)
		if got := refused(t, a); got.Type != sqsType+"QueueNameExists" {
			t.Errorf("%s: got %+v", attribute, got)
		}
	}
	// AWS allows a queue to be its own dead-letter queue.
	e.ok("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:q\",\"maxReceiveCount\":1}"}}`)
	e.ok("SetQueueAttributes", `{"QueueUrl":"dead","Attributes":{"RedriveAllowPolicy":"{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"arn:aws:sqs:us-east-1:000000000000:yes\"]}"}}`)
	for name, want := range map[string]int{"yes": 200, "no": 400} {
		if a := e.do("CreateQueue", `{"QueueName":"`+name+`","Attributes":{`+redrive+`}"}}`); a.status != want {
			t.Errorf("dead-letter queue for %s: status %d, want %d", name, a.status, want)
		}
	}
}

// TestQueueURLs finds one queue in every way that clients have.
func TestQueueURLs(t *testing.T) {
	e := newEnv(t, nil)
	q := e.create("q", nil)
	e.create("queue", nil)
	urls := []string{
		e.server.URL + "/000000000000/q",
		"http://sqs.us-east-1.amazonaws.com/000000000000/q",
		"https://sqs.eu-west-1.localhost.localstack.cloud:4566/000000000000/q",
		"http://localhost:4566/queue/us-east-1/000000000000/q",
		"http://us-east-1.queue.localhost:4566/000000000000/q?x=/000000000000/queue#/a/b",
		"http://host/000000000000/q/",
		"/000000000000/q",
		"000000000000/q",
		"http://host/default/q",
		"q",
		"http://host/q",
	}
	for _, url := range urls {
		e.ok("SendMessage", `{"MessageBody":"x","QueueUrl":"`+url+`"}`)
	}
	// The path of the request counts if the parameters name no queue.
	for path, body := range map[string]string{
		"/000000000000/q":                 `{"MessageBody":"x"}`,
		"/queue/us-east-1/000000000000/q": `{"MessageBody":"x","QueueUrl":""}`,
		"/000000000000/queue":             `{"MessageBody":"x","QueueUrl":"q"}`,
	} {
		r := e.request(t.Context(), "SendMessage", body)
		r.URL.Path = path
		if a := e.send(r); a.status != 200 {
			t.Errorf("POST %s: %d %s", path, a.status, a.body)
		}
	}
	if got, want := q.Depth().Visible, int64(len(urls)+3); got != want {
		t.Errorf("messages: got %d, want %d", got, want)
	}
}

func TestURLsFollowTheRequest(t *testing.T) {
	url := func(e *env, change func(*http.Request)) string {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(`{"QueueName":"q"}`))
		r.Header.Set("X-Amz-Target", "AmazonSQS.GetQueueUrl")
		if change != nil {
			change(r)
		}
		w := httptest.NewRecorder()
		e.door.ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.String()}.field(t, "QueueUrl")
	}
	follow := newEnv(t, nil)
	follow.create("q", nil)
	public := newEnv(t, func(c *sqs.Config) { c.PublicURL = "https://queues.example.com/sqs/" })
	public.create("q", nil)
	for _, test := range []struct{ got, want string }{
		{url(follow, func(r *http.Request) { r.Host = "queues:7070"; r.TLS = nil }), "http://queues:7070/000000000000/q"},
		{url(follow, func(r *http.Request) { r.Host = "10.0.0.1" }), "http://10.0.0.1/000000000000/q"},
		{url(public, nil), "https://queues.example.com/sqs/000000000000/q"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
	server := httptest.NewTLSServer(follow.door)
	defer server.Close()
	r := follow.request(t.Context(), "GetQueueUrl", `{"QueueName":"q"}`)
	r.URL.Scheme, r.URL.Host, r.Host = "https", strings.TrimPrefix(server.URL, "https://"), "secure.example.com"
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var v struct{ QueueUrl string }
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil || v.QueueUrl != "https://secure.example.com/000000000000/q" {
		t.Errorf("over TLS: got %+v, %v", v, err)
	}
}

func TestListQueues(t *testing.T) {
	e := newEnv(t, nil)
	e.want(t, "ListQueues", `{}`, `{}`)
	e.want(t, "ListQueues", ``, `{}`)
	for i := range 7 {
		e.create(fmt.Sprintf("a-%d", i), nil)
	}
	e.create("b", nil)
	e.want(t, "ListQueues", `{"QueueNamePrefix":"b"}`, `{"QueueUrls":["`+e.server.URL+`/000000000000/b"]}`)
	e.want(t, "ListQueues", `{"QueueNamePrefix":"c"}`, `{}`)
	var got []string
	pages := 0
	for token := ""; ; pages++ {
		a := e.ok("ListQueues", `{"QueueNamePrefix":"a","MaxResults":3,"NextToken":"`+token+`"}`)
		var v struct {
			QueueUrls []string
			NextToken string
		}
		if err := json.Unmarshal([]byte(a.body), &v); err != nil {
			t.Fatal(err)
		}
		for _, url := range v.QueueUrls {
			got = append(got, strings.TrimPrefix(url, e.server.URL+"/000000000000/"))
		}
		if token = v.NextToken; token == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"a-0", "a-1", "a-2", "a-3", "a-4", "a-5", "a-6"}, got); diff != "" || pages != 2 {
		t.Errorf("%d pages before the last (-want +got):\n%s", pages, diff)
	}
	if a := e.ok("ListQueues", `{"MaxResults":8}`); strings.Contains(a.body, "NextToken") {
		t.Errorf("a token for nothing: %s", a.body)
	}
}
