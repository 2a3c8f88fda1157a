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
		"SqsManagedSseEnabled":                  "true",
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
	want["SqsManagedSseEnabled"] = "true"
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
	e.want(t, "CreateQueue", `{"QueueName":"q","tags":{"team":"a","empty":""},"Attributes":{"DelaySeconds":"5",`+redrive+`,\"maxReceiveCount\":10}","Policy":"{}"}}`, url)
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
		if a := e.do("CreateQueue", `{"QueueName":"`+name+`","Attributes":{`+redrive+`,\"maxReceiveCount\":1}"}}`); a.status != want {
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
		"https://queue.amazonaws.com/000000000000/q",
		"https://eu-west-1.queue.amazonaws.com/000000000000/q",
		"https://sqs-fips.us-gov-west-1.amazonaws.com/000000000000/q",
		"http://host/000000000000/q/",
		"/000000000000/q",
		"000000000000/q",
		"http://host/default/q",
		"q",
		"http://host/q",
	}
	for _, url := range urls {
		e.takes(t, "SendMessage", `{"MessageBody":"x","QueueUrl":"`+url+`"}`)
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
	if got, want := q.Depth().Visible, int64(2*len(urls)+3); got != want {
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

// TestEncryption checks that a key of KMS and the encryption of SQS take each
// other's place.
func TestEncryption(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	for _, test := range []struct {
		set  string
		want map[string]string
	}{
		{`"KmsMasterKeyId":"k"`, map[string]string{"KmsMasterKeyId": "k", "KmsDataKeyReusePeriodSeconds": "300", "SqsManagedSseEnabled": "false"}},
		{`"SqsManagedSseEnabled":"true"`, map[string]string{"SqsManagedSseEnabled": "true"}},
		{`"KmsMasterKeyId":"l","KmsDataKeyReusePeriodSeconds":"60"`, map[string]string{"KmsMasterKeyId": "l", "KmsDataKeyReusePeriodSeconds": "60", "SqsManagedSseEnabled": "false"}},
		{`"KmsMasterKeyId":"","KmsDataKeyReusePeriodSeconds":"","SqsManagedSseEnabled":"false"`, map[string]string{"SqsManagedSseEnabled": "false"}},
	} {
		e.ok("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{`+test.set+`}}`)
		if diff := cmp.Diff(test.want, e.attributes("q", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.set, diff)
		}
	}
	got := refused(t, e.do("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"KmsMasterKeyId":"k","SqsManagedSseEnabled":"true"}}`))
	if diff := cmp.Diff(attributeValue("You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."), got); diff != "" {
		t.Errorf("both (-want +got):\n%s", diff)
	}
	e.ok("CreateQueue", `{"QueueName":"plain"}`)
	e.ok("CreateQueue", `{"QueueName":"plain","Attributes":{"SqsManagedSseEnabled":"true"}}`)
}

func TestTags(t *testing.T) {
	e := newEnv(t, nil)
	e.ok("CreateQueue", `{"QueueName":"q","tags":{"b":"1","a":""}}`)
	e.ok("TagQueue", `{"QueueUrl":"q","Tags":{"b":"2","c d":"3"}}`)
	e.want(t, "ListQueueTags", `{"QueueUrl":"q"}`, `{"Tags":{"a":"","b":"2","c d":"3"}}`)
	e.ok("UntagQueue", `{"QueueUrl":"q","TagKeys":["a","none"]}`)
	if _, got := e.post("/000000000000/q", "Action=ListQueueTags"); got != good("ListQueueTags", "<Tag><Key>b</Key><Value>2</Value></Tag><Tag><Key>c d</Key><Value>3</Value></Tag>") {
		t.Errorf("got %s", got)
	}
	if _, got := e.post("/000000000000/q", "Action=UntagQueue&TagKey.1=b&TagKey.2=c+d"); got != good("UntagQueue", "-") {
		t.Errorf("got %s", got)
	}
	e.want(t, "ListQueueTags", `{"QueueUrl":"q"}`, `{}`)
	if _, got := e.post("/000000000000/q", "Action=TagQueue&Tag.1.Key=k&Tag.1.Value=v"); got != good("TagQueue", "-") {
		t.Errorf("got %s", got)
	}

	many := func(n int) string {
		var tags []string
		for i := range n {
			tags = append(tags, fmt.Sprintf(`"t%d":""`, i))
		}
		return `{"QueueUrl":"q","Tags":{` + strings.Join(tags, ",") + `}}`
	}
	e.ok("TagQueue", many(49))
	const invalidTag = " is invalid: tag keys have 1 to 128 characters, tag values at most 256."
	for _, test := range []struct {
		action, body string
		want         refusal
	}{
		{"TagQueue", many(50), parameterValue("A queue can have at most 50 tags, this one would have 51.")},
		{"TagQueue", `{"QueueUrl":"q","Tags":{"":"x"}}`, parameterValue(`The tag ""` + invalidTag)},
		{"TagQueue", `{"QueueUrl":"q","Tags":{"v":"` + strings.Repeat("é", 257) + `"}}`, parameterValue(`The tag "v"` + invalidTag)},
		{"TagQueue", `{"QueueUrl":"q","Tags":{"Aws:x":"x"}}`, parameterValue(`The tag "Aws:x" is invalid: keys that begin with aws: are reserved for system use.`)},
		{"TagQueue", `{"QueueUrl":"q"}`, missingParameter("Tags")},
		{"UntagQueue", `{"QueueUrl":"q"}`, missingParameter("TagKeys")},
		{"TagQueue", `{"QueueUrl":"none","Tags":{"a":"b"}}`, noQueue},
		{"UntagQueue", `{"QueueUrl":"none","TagKeys":["a"]}`, noQueue},
		{"ListQueueTags", `{"QueueUrl":"none"}`, noQueue},
	} {
		e.refuses(t, test.action, test.body, test.want)
	}
	e.ok("TagQueue", `{"QueueUrl":"q","Tags":{"k":"`+strings.Repeat("é", 256)+`"}}`)
}

func TestPermissions(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	add := func(label, accounts, actions string) string {
		return `{"QueueUrl":"q","Label":"` + label + `","AWSAccountIds":[` + accounts + `],"Actions":[` + actions + `]}`
	}
	const ann = `"111111111111"`
	e.want(t, "AddPermission", add("one", ann, `"SendMessage"`), "")
	e.want(t, "AddPermission", add("two", ann+`,"222222222222"`, `"*","ReceiveMessage"`), "")
	const one = `{"Sid":"one","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"SQS:SendMessage","Resource":"arn:aws:sqs:us-east-1:000000000000:q"}`
	const two = `{"Sid":"two","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111111111111:root","arn:aws:iam::222222222222:root"]},` +
		`"Action":["SQS:*","SQS:ReceiveMessage"],"Resource":"arn:aws:sqs:us-east-1:000000000000:q"}`
	policy := func(statements string) map[string]string {
		return map[string]string{"Policy": `{"Id":"arn:aws:sqs:us-east-1:000000000000:q/SQSDefaultPolicy","Statement":[` + statements + `],"Version":"2008-10-17"}`}
	}
	if diff := cmp.Diff(policy(one+","+two), e.attributes("q", "Policy")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		action, body string
		want         refusal
	}{
		{"AddPermission", add("one", ann, `"SendMessage"`), parameterValue("Value one for parameter Label is invalid. Reason: Already exists.")},
		{"AddPermission", add("", ann, `"SendMessage"`), missingParameter("Label")},
		{"AddPermission", add("a b", ann, `"SendMessage"`), parameterValue("Value a b for parameter Label is invalid. Reason: Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")},
		{"AddPermission", add("a", "", `"SendMessage"`), missingParameter("AWSAccountIds")},
		{"AddPermission", add("a", ann, ""), missingParameter("Actions")},
		{"AddPermission", add("a", `"12345678901x"`, `"SendMessage"`), parameterValue("Value 12345678901x for parameter PrincipalId is invalid. Reason: Unable to verify: want the 12 digits of an account.")},
		{"AddPermission", add("a", ann, `"CreateQueue"`), parameterValue("Value SQS:CreateQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action.")},
		{"AddPermission", add("a", ann, strings.TrimRight(strings.Repeat(`"*",`, 8), ",")), refusal{403, sqsType + "OverLimit", "OverLimit;Sender", "8 Actions were found, maximum allowed is 7."}},
		{"RemovePermission", `{"QueueUrl":"q","Label":"none"}`, parameterValue("Value none for parameter Label is invalid. Reason: can't find label.")},
		{"RemovePermission", `{"QueueUrl":"none","Label":"a"}`, noQueue},
	} {
		e.refuses(t, test.action, test.body, test.want)
	}
	e.want(t, "RemovePermission", `{"QueueUrl":"q","Label":"two"}`, "")
	if diff := cmp.Diff(policy(one), e.attributes("q", "Policy")); diff != "" {
		t.Errorf("after RemovePermission (-want +got):\n%s", diff)
	}
	e.ok("RemovePermission", `{"QueueUrl":"q","Label":"one"}`)
	e.want(t, "GetQueueAttributes", `{"QueueUrl":"q","AttributeNames":["Policy"]}`, `{}`)

	// A policy of the user's keeps what is in it.
	e.ok("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"Policy":"{\"Version\":\"2012-10-17\",\"x\":1,\"Statement\":{\"Sid\":\"s\",\"Effect\":\"Deny\"}}"}}`)
	if status, got := e.post("/000000000000/q", "Action=AddPermission&Label=one&AWSAccountId.1=111111111111&ActionName.1=SendMessage"); status != 200 {
		t.Error(got)
	}
	want := map[string]string{"Policy": `{"Id":"arn:aws:sqs:us-east-1:000000000000:q/SQSDefaultPolicy","Statement":[{"Sid":"s","Effect":"Deny"},` + one + `],"Version":"2012-10-17","x":1}`}
	if diff := cmp.Diff(want, e.attributes("q", "Policy")); diff != "" {
		t.Errorf("with a statement before (-want +got):\n%s", diff)
	}
	for i := range 18 {
		e.ok("AddPermission", add(fmt.Sprint("n", i), ann, `"*"`))
	}
	e.refuses(t, "AddPermission", add("more", ann, `"*"`), refusal{403, sqsType + "OverLimit", "OverLimit;Sender", "21 Statements were found, maximum allowed is 20."})
}

func TestDeadLetterSources(t *testing.T) {
	e := newEnv(t, nil)
	e.create("dead", nil)
	e.create("other", nil)
	e.want(t, "ListDeadLetterSourceQueues", `{"QueueUrl":"dead"}`, `{"queueUrls":[]}`)
	for i, dead := range []string{"dead", "other", "dead", "dead"} {
		e.create(fmt.Sprint("s", i), func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: dead, MaxReceives: 1} })
	}
	url := func(name string) string { return e.server.URL + "/000000000000/" + name }
	e.want(t, "ListDeadLetterSourceQueues", `{"QueueUrl":"dead"}`, `{"queueUrls":["`+url("s0")+`","`+url("s2")+`","`+url("s3")+`"]}`)
	a := e.ok("ListDeadLetterSourceQueues", `{"QueueUrl":"dead","MaxResults":2}`)
	if got := a.field(t, "queueUrls", 1); got != url("s2") {
		t.Errorf("first page: %s", a.body)
	}
	next := a.field(t, "NextToken")
	e.want(t, "ListDeadLetterSourceQueues", `{"QueueUrl":"dead","MaxResults":2,"NextToken":"`+next+`"}`, `{"queueUrls":["`+url("s3")+`"]}`)
	if _, got := e.post("/000000000000/other", "Action=ListDeadLetterSourceQueues"); got != good("ListDeadLetterSourceQueues", "<QueueUrl>"+url("s1")+"</QueueUrl>") {
		t.Errorf("got %s", got)
	}
	e.refuses(t, "ListDeadLetterSourceQueues", `{"QueueUrl":"none"}`, noQueue)
}
