package sqs

import (
	"net/http"
	"strings"
)

// The query protocol: GET or POST with the action and its parameters as a
// form, in the query string, the body or both, and answers in XML. All SDKs
// from before November 2023 speak it.
//
// Version may be missing, and QueueUrl where the path is that of a queue:
// Celery's asynchronous receive sends neither.

// namespace is that of all answers, and its end the only Version there is.
const (
	version   = "2012-11-05"
	namespace = "http://queue.amazonaws.com/doc/" + version + "/"
)

// isQuery says whether a request is in the query protocol.
func isQuery(r *http.Request) bool {
	if len(r.Header["X-Amz-Target"]) > 0 {
		return false
	}
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") ||
		strings.HasPrefix(r.URL.RawQuery, "Action=") || strings.Contains(r.URL.RawQuery, "&Action=")
}

// readForm reads the parameters of a request in the query protocol.
func (c *call) readForm() error {
	f := form{root: &param{}}
	if err := f.add([]byte(c.r.URL.RawQuery)); err != nil {
		return err
	}
	if err := f.add(c.body); err != nil {
		return err
	}
	if v := f.root.member("Version"); v != nil && string(v.value) != version {
		return noSuchVersion.says("The requested version ( %.40s ) is not valid: this is version %s.", v.value, version)
	}
	action := f.root.member("Action")
	if action == nil || len(action.value) == 0 {
		return missingAction.says("The request names no action: the parameter Action is missing, as in Action=SendMessage.")
	}
	c.action, c.form = string(action.value), f.root
	return nil
}

// respondXML makes the answer to a request that was served.
func (c *call) respondXML(out output) {
	e := &c.enc
	e.b = append(e.b, `<?xml version="1.0"?><`...)
	e.b = append(e.b, c.action...)
	e.b = append(e.b, `Response xmlns="`+namespace+`">`...)
	if _, nothing := out.(none); !nothing {
		e.member(c.action + "Result")
		out.encode(e)
		e.end(c.action + "Result")
	}
	e.member("ResponseMetadata")
	e.field("RequestId", c.id)
	e.end("ResponseMetadata")
	e.end(c.action + "Response")
}

// refuseXML makes the answer to one that was not.
func (c *call) refuseXML(f *failure) {
	e := &c.enc
	e.b = append(e.b, `<?xml version="1.0"?><ErrorResponse xmlns="`+namespace+`">`...)
	e.member("Error")
	e.field("Type", f.fault())
	e.field("Code", f.query)
	if f.kind == queueDoesNotExist && f.message == textNoQueue {
		f = &failure{f.kind, textNoQueueXML}
	}
	e.field("Message", f.message)
	e.b = append(e.b, "<Detail/>"...)
	e.end("Error")
	e.field("RequestId", c.id)
	e.end("ErrorResponse")
}
