package main_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTerraform has Terraform itself make, check and destroy the queues of
// main.tf. It takes two minutes, most of them the provider's own waiting, and
// needs Terraform with the AWS provider; TestTerraformCalls stands for it
// elsewhere.
func TestTerraform(t *testing.T) {
	if os.Getenv("RUNNEL_TERRAFORM") == "" {
		t.Skip("set RUNNEL_TERRAFORM=1 to run the terraform of the PATH")
	}
	dir := t.TempDir()
	file, err := os.ReadFile("main.tf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	endpoint := serve(t)
	terraform := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "terraform", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TF_VAR_endpoint="+endpoint, "TF_IN_AUTOMATION=1")
		out, err := cmd.CombinedOutput()
		t.Logf("terraform %s\n%s", strings.Join(args, " "), out)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	terraform("init", "-no-color")
	terraform("version", "-no-color")
	terraform("apply", "-no-color", "-auto-approve")
	for name, want := range map[string]string{
		"mailbox": "arn:aws:sqs:us-east-1:000000000000:csse6400_prac", "fifo": "arn:aws:sqs:us-east-1:000000000000:csse6400_prac.fifo",
	} {
		if got := strings.TrimSpace(terraform("output", "-raw", name)); got != want {
			t.Errorf("output %s: got %s, want %s", name, got, want)
		}
	}
	terraform("plan", "-no-color", "-detailed-exitcode") // exits with 2 if there is anything to change
	terraform("destroy", "-no-color", "-auto-approve")
	got := jsonCall(t, endpoint, "ListQueues", map[string]any{})
	if len(got.QueueURLs) > 0 {
		t.Errorf("queues after destroy: %q", got.QueueURLs)
	}
}

// answer is what is left of an answer when its protocol is forgotten.
type answer struct {
	Code       string // of an error, as the SDK of the protocol reports it
	QueueURL   string
	QueueURLs  []string
	Attributes map[string]string
	Tags       map[string]string
}

// call makes a call of the SQS API. The body is that of AWS JSON 1.0.
type call func(t *testing.T, endpoint, action string, body map[string]any) answer

func post(t *testing.T, address string, header map[string]string, body string) (status int, data []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, data
}

// jsonCall is as versions 5 and 6 of the provider call, by aws-sdk-go-v2.
func jsonCall(t *testing.T, endpoint, action string, body map[string]any) (a answer) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	status, data := post(t, endpoint, map[string]string{
		"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action,
	}, string(text))
	var reply struct {
		Type       string            `json:"__type"`
		QueueURL   string            `json:"QueueUrl"`
		QueueURLs  []string          `json:"QueueUrls"`
		Attributes map[string]string `json:"Attributes"`
		Tags       map[string]string `json:"Tags"`
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &reply); err != nil {
			t.Fatalf("%s answered %q: %v", action, data, err)
		}
	}
	if _, reply.Type, _ = strings.Cut(reply.Type, "#"); (status == http.StatusOK) != (reply.Type == "") {
		t.Fatalf("%s answered %d %q", action, status, data)
	}
	return answer{Code: reply.Type, QueueURL: reply.QueueURL, QueueURLs: reply.QueueURLs, Attributes: reply.Attributes, Tags: reply.Tags}
}

// queryCall is as version 3 of the provider calls, by aws-sdk-go: forms, and to
// the queue's own URL where there is one.
func queryCall(t *testing.T, endpoint, action string, body map[string]any) (a answer) {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2012-11-05"}}
	pairs := func(prefix, key string, values map[string]string) {
		for i, name := range slices.Sorted(maps.Keys(values)) {
			form.Set(fmt.Sprintf("%s.%d.%s", prefix, i+1, key), name)
			form.Set(fmt.Sprintf("%s.%d.Value", prefix, i+1), values[name])
		}
	}
	for key, value := range body {
		switch value := value.(type) {
		case string:
			form.Set(key, value)
		case []string:
			for i, v := range value {
				form.Set(fmt.Sprintf("%s.%d", strings.TrimSuffix(key, "s"), i+1), v)
			}
		case map[string]string:
			switch key {
			case "Attributes":
				pairs("Attribute", "Name", value)
			default: // tags, and Tags
				pairs("Tag", "Key", value)
			}
		default:
			t.Fatalf("%s of %s is a %T", key, action, value)
		}
	}
	address := endpoint + "/"
	if queue, ok := body["QueueUrl"].(string); ok {
		address = queue
	}
	status, data := post(t, address, map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, form.Encode())
	type pair struct{ Name, Key, Value string }
	var reply struct {
		Code      string   `xml:"Error>Code"`
		Created   string   `xml:"CreateQueueResult>QueueUrl"`
		Found     string   `xml:"GetQueueUrlResult>QueueUrl"`
		QueueURLs []string `xml:"ListQueuesResult>QueueUrl"`
		Attribute []pair   `xml:"GetQueueAttributesResult>Attribute"`
		Tag       []pair   `xml:"ListQueueTagsResult>Tag"`
	}
	if err := xml.Unmarshal(data, &reply); err != nil || (status == http.StatusOK) != (reply.Code == "") {
		t.Fatalf("%s answered %d %q: %v", action, status, data, err)
	}
	a = answer{Code: reply.Code, QueueURL: reply.Created + reply.Found, QueueURLs: reply.QueueURLs}
	for _, p := range reply.Attribute {
		if a.Attributes == nil {
			a.Attributes = map[string]string{}
		}
		a.Attributes[p.Name] = p.Value
	}
	for _, p := range reply.Tag {
		if a.Tags == nil {
			a.Tags = map[string]string{}
		}
		a.Tags[p.Key] = p.Value
	}
	return a
}

// resource is an aws_sqs_queue: what the provider sends of it.
type resource struct {
	name       string
	attributes map[string]string
	tags       map[string]string
}

// provider makes the calls of Terraform's AWS provider, in its order, and fails
// the test where the provider would fail, go on waiting or see a change.
type provider struct {
	*testing.T
	call     call
	endpoint string
	missing  string // code of a queue that does not exist
}

func (p provider) must(action string, body map[string]any) answer {
	p.Helper()
	a := p.call(p.T, p.endpoint, action, body)
	if a.Code != "" {
		p.Fatalf("%s %v: %s", action, body, a.Code)
	}
	return a
}

// attributes with the values that a queue of the provider has unless they are
// set: it sends these always.
func attributes(others ...string) map[string]string {
	out := map[string]string{
		"DelaySeconds": "0", "MaximumMessageSize": "262144", "MessageRetentionPeriod": "345600",
		"ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30",
	}
	for i := 0; i < len(others); i += 2 {
		out[others[i]] = others[i+1]
	}
	return out
}

// create makes a queue, and waits for its attributes.
func (p provider) create(r resource) (queueURL string) {
	p.Helper()
	body := map[string]any{"QueueName": r.name, "Attributes": r.attributes}
	if r.tags != nil {
		body["tags"] = r.tags
	}
	queueURL = p.must("CreateQueue", body).QueueURL
	// The provider takes the name out of the URL.
	if u, err := url.Parse(queueURL); err != nil || u.Path != "/000000000000/"+r.name || u.Scheme+"://"+u.Host != p.endpoint {
		p.Fatalf("URL of %s: %q, %v", r.name, queueURL, err)
	}
	p.propagated(queueURL, r.attributes)
	return queueURL
}

// propagated is what the provider waits for after each change: that all it has
// sent is read back, several times in a row. Here it must be so at once.
func (p provider) propagated(queueURL string, sent map[string]string) {
	p.Helper()
	for range 3 {
		got := p.must("GetQueueAttributes", map[string]any{"QueueUrl": queueURL, "AttributeNames": []string{"All"}}).Attributes
		for name, want := range sent {
			if !same(got[name], want) { // missing is the same as empty
				p.Errorf("%s of %s: got %q, want %q", name, queueURL, got[name], want)
			}
		}
	}
}

// same compares attributes as the provider does: policies as JSON.
func same(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil {
		return cmp.Equal(x, y)
	}
	return a == b
}

// counted are attributes that are no settings; the provider does not read them.
var counted = []string{
	"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed", "ApproximateNumberOfMessagesNotVisible",
	"CreatedTimestamp", "LastModifiedTimestamp",
}

// unchanged is a plan, or an import: the queue is read, and must be what the
// resource says and nothing else, for what is else would be a change to make.
// computed are attributes that the resource leaves to the server.
func (p provider) unchanged(queueURL string, r resource, computed ...string) {
	p.Helper()
	got := p.must("GetQueueAttributes", map[string]any{"QueueUrl": queueURL, "AttributeNames": []string{"All"}}).Attributes
	for _, name := range counted {
		if got[name] == "" {
			p.Errorf("%s of %s is missing", name, queueURL)
		}
		delete(got, name)
	}
	want := maps.Clone(r.attributes)
	want["QueueArn"] = "arn:aws:sqs:us-east-1:000000000000:" + r.name
	for i := 0; i < len(computed); i += 2 {
		want[computed[i]] = computed[i+1]
	}
	maps.DeleteFunc(want, func(_, value string) bool { return value == "" })
	if diff := cmp.Diff(want, got, cmp.Comparer(same)); diff != "" {
		p.Errorf("%s is to change (-want +got):\n%s", r.name, diff)
	}
	tags := p.must("ListQueueTags", map[string]any{"QueueUrl": queueURL}).Tags
	if diff := cmp.Diff(r.tags, tags); diff != "" {
		p.Errorf("tags of %s are to change (-want +got):\n%s", r.name, diff)
	}
}

// set changes attributes of a queue, and is all that the resources for a single
// one of them do (aws_sqs_queue_policy and the two for redrives). Empty is how
// they take one away.
func (p provider) set(queueURL string, change map[string]string) {
	p.Helper()
	p.must("SetQueueAttributes", map[string]any{"QueueUrl": queueURL, "Attributes": change})
	p.propagated(queueURL, change)
}

// destroy deletes a queue, and waits until it is gone.
func (p provider) destroy(queueURL string) {
	p.Helper()
	p.must("DeleteQueue", map[string]any{"QueueUrl": queueURL})
	for range 3 {
		got := p.call(p.T, p.endpoint, "GetQueueAttributes", map[string]any{"QueueUrl": queueURL, "AttributeNames": []string{"All"}})
		if got.Code != p.missing {
			p.Fatalf("%s after DeleteQueue: got error %q, want %q", queueURL, got.Code, p.missing)
		}
	}
}

// TestTerraformCalls makes the calls that Terraform makes. Those in JSON are a
// recording of Terraform 1.11.4 with version 5.100.0 of the AWS provider;
// version 3, which the practical asks for, has the same sequence in the query
// protocol.
func TestTerraformCalls(t *testing.T) {
	for _, protocol := range []provider{
		{call: jsonCall, missing: "QueueDoesNotExist"},
		{call: queryCall, missing: "AWS.SimpleQueueService.NonExistentQueue"},
	} {
		t.Run(map[bool]string{true: "json", false: "query"}[protocol.missing == "QueueDoesNotExist"], func(t *testing.T) {
			p := provider{T: t, call: protocol.call, missing: protocol.missing, endpoint: serve(t)}
			practical(p)
			everything(p)
			if got := p.must("ListQueues", map[string]any{}).QueueURLs; len(got) > 0 {
				t.Errorf("queues after all were destroyed: %q", got)
			}
		})
	}
}

// practical is main.tf: apply, plan, destroy, and apply again at once, for
// which AWS would have it wait for a minute.
func practical(p provider) {
	mailbox := resource{name: "csse6400_prac", attributes: attributes()}
	fifo := resource{name: "csse6400_prac.fifo", attributes: attributes("FifoQueue", "true", "ContentBasedDeduplication", "true")}
	for range 2 {
		mailboxURL, fifoURL := p.create(mailbox), p.create(fifo)
		for range 2 {
			p.unchanged(mailboxURL, mailbox, "SqsManagedSseEnabled", "true")
			p.unchanged(fifoURL, fifo, "SqsManagedSseEnabled", "true", "DeduplicationScope", "queue", "FifoThroughputLimit", "perQueue")
		}
		p.destroy(mailboxURL)
		p.destroy(fifoURL)
	}
}

// everything has the other settings of the provider's resources, changes of
// them, and data sources.
func everything(p provider) {
	const arn = "arn:aws:sqs:us-east-1:000000000000:"
	dead := resource{name: "dead", attributes: attributes("MessageRetentionPeriod", "1209600")}
	deadURL := p.create(dead)
	all := resource{name: "all", tags: map[string]string{"Environment": "production", "Owner": "a b"}, attributes: attributes(
		"DelaySeconds", "90", "MaximumMessageSize", "2048", "MessageRetentionPeriod", "86400", "ReceiveMessageWaitTimeSeconds", "10",
		"VisibilityTimeout", "45", "SqsManagedSseEnabled", "false", "RedrivePolicy", `{"deadLetterTargetArn":"`+arn+`dead","maxReceiveCount":4}`,
	)}
	allURL := p.create(all)
	p.unchanged(allURL, all)
	kms := resource{name: "kms", attributes: attributes("KmsMasterKeyId", "alias/aws/sqs", "KmsDataKeyReusePeriodSeconds", "600")}
	kmsURL := p.create(kms)
	p.unchanged(kmsURL, kms, "SqsManagedSseEnabled", "false")
	fifo := resource{name: "prefix-20261121135611225100000002.fifo", attributes: attributes(
		"FifoQueue", "true", "DeduplicationScope", "messageGroup", "FifoThroughputLimit", "perMessageGroupId",
	)}
	fifoURL := p.create(fifo)
	p.unchanged(fifoURL, fifo, "SqsManagedSseEnabled", "true", "ContentBasedDeduplication", "false")

	// aws_sqs_queue_redrive_allow_policy and aws_sqs_queue_policy.
	for name, value := range map[string]string{
		"RedriveAllowPolicy": `{"redrivePermission":"byQueue","sourceQueueArns":["` + arn + `all"]}`,
		"Policy": `{"Statement":[{"Action":"sqs:SendMessage","Condition":{"ArnEquals":{"aws:SourceArn":"` + arn + `all"}},"Effect":"Allow",` +
			`"Principal":"*","Resource":"` + arn + `dead","Sid":"First"}],"Version":"2012-10-17"}`,
	} {
		p.set(deadURL, map[string]string{name: value})
		got := p.must("GetQueueAttributes", map[string]any{"QueueUrl": deadURL, "AttributeNames": []string{name}}).Attributes
		if diff := cmp.Diff(map[string]string{name: value}, got, cmp.Comparer(same)); diff != "" {
			p.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	// The data sources aws_sqs_queue and aws_sqs_queues.
	if got := p.must("GetQueueUrl", map[string]any{"QueueName": "all"}).QueueURL; got != allURL {
		p.Errorf("GetQueueUrl: got %q, want %q", got, allURL)
	}
	got := p.must("GetQueueAttributes", map[string]any{"QueueUrl": allURL, "AttributeNames": []string{"QueueArn"}}).Attributes
	if diff := cmp.Diff(map[string]string{"QueueArn": arn + "all"}, got); diff != "" {
		p.Errorf("QueueArn alone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{allURL}, p.must("ListQueues", map[string]any{"QueueNamePrefix": "al"}).QueueURLs); diff != "" {
		p.Errorf("ListQueues (-want +got):\n%s", diff)
	}

	// A change in place of settings and tags.
	p.must("UntagQueue", map[string]any{"QueueUrl": allURL, "TagKeys": []string{"Owner"}})
	all.tags = map[string]string{"Environment": "staging", "New": "x"}
	p.must("TagQueue", map[string]any{"QueueUrl": allURL, "Tags": all.tags})
	change := map[string]string{"DelaySeconds": "5", "VisibilityTimeout": "0", "RedrivePolicy": ""}
	p.set(allURL, change)
	maps.Copy(all.attributes, change)
	p.unchanged(allURL, all)

	p.set(deadURL, map[string]string{"Policy": ""})
	p.set(deadURL, map[string]string{"RedriveAllowPolicy": ""})
	p.unchanged(deadURL, dead, "SqsManagedSseEnabled", "true")
	for _, queueURL := range []string{allURL, kmsURL, fifoURL, deadURL} {
		p.destroy(queueURL)
	}
}
