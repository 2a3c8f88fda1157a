package sqs

import (
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// AWS JSON 1.0: POST with the action in the header X-Amz-Target and the
// parameters as a JSON object in the body. The answer is a JSON object, or
// nothing where an action returns nothing; an error is an object with __type
// and message, its older code being in x-amzn-query-error.

// Values of headers, which are shared by all answers and must not be changed.
var (
	contentJSON = []string{"application/x-amz-json-1.0"}
	contentXML  = []string{"text/xml"}
	allowPost   = []string{http.MethodPost}
)

// route finds out which protocol a request speaks, and which action it names
// if the header says it; or it says why the request is none of this door's.
func (c *call) route() error {
	c.query = isQuery(c.r)
	c.enc.xml = c.query
	switch path := c.r.URL.Path; {
	case path != "/" && !isQueuePath(path):
		return invalidAddress.says("There is nothing at %.80q. Amazon SQS is served at POST / and at the URLs of queues, POST /ACCOUNT/QUEUE; GET / says what else is here.", path)
	case c.r.Method == http.MethodGet && c.query:
		return nil
	case c.r.Method != http.MethodPost:
		return methodNotAllowed.says("This is Amazon SQS, which takes POST and not %.20q. Point an AWS SDK, or aws --endpoint-url, at this server.", c.r.Method)
	case c.query:
		return nil
	}
	target := c.r.Header.Get("X-Amz-Target")
	action, ok := strings.CutPrefix(target, "AmazonSQS.")
	switch {
	case target == "":
		return unknownOperation.says("The request names no action: the header X-Amz-Target is missing, as in X-Amz-Target: AmazonSQS.SendMessage.")
	case !ok:
		return unknownOperation.says("The action %.80q is not one of Amazon SQS: want X-Amz-Target: AmazonSQS.ACTION.", target)
	}
	c.action = action
	return nil
}

// decode reads the parameters of an action.
func (c *call) decode(in input) error {
	if c.query {
		return decodeForm(c.form, in)
	}
	return decode(c.body, in)
}

// respond answers a request that was served.
func (c *call) respond(w http.ResponseWriter, out output) {
	if c.query {
		c.respondXML(out)
		c.write(w, http.StatusOK, contentXML)
		return
	}
	if _, nothing := out.(none); !nothing {
		c.enc.object(out)
	}
	c.write(w, http.StatusOK, contentJSON)
}

// refuse answers a request that was not, and logs what is our fault.
func (c *call) refuse(w http.ResponseWriter, err error) {
	f, known := failureOf(err)
	if !known {
		c.door.log.Error("request failed", "request", c.id, "action", c.action, "account", c.caller.Account, "err", err)
	}
	h := w.Header()
	if f.status == http.StatusMethodNotAllowed {
		h["Allow"] = allowPost
	}
	if c.query {
		c.refuseXML(f)
		c.write(w, f.status, contentXML)
		return
	}
	h["X-Amzn-Query-Error"] = []string{f.query + ";" + f.fault()}
	c.enc.object(f)
	c.write(w, f.status, contentJSON)
}

// encode writes an error's members.
func (f *failure) encode(e *encoder) {
	e.field("__type", f.shape)
	e.field("message", f.message)
}

// fault is whose fault it was.
func (f *failure) fault() string {
	if f.sender() {
		return "Sender"
	}
	return "Receiver"
}

// write sends the answer. That the client has gone is no error of anybody's.
func (c *call) write(w http.ResponseWriter, status int, contentType []string) {
	h := w.Header()
	h["X-Amzn-Requestid"] = []string{c.id}
	h["Content-Type"] = contentType
	if len(c.enc.b) > 2048 { // below, net/http knows the length by itself
		h["Content-Length"] = []string{strconv.Itoa(len(c.enc.b))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(c.enc.b)
}

// newRequestID returns a random UUID. It is for finding one's request in a
// log, and need not be hard to guess.
func newRequestID() string {
	var raw [16]byte
	for i, n := range [2]uint64{rand.Uint64(), rand.Uint64()} {
		for j := range 8 {
			raw[8*i+j] = byte(n >> (8 * j))
		}
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	var text [36]byte
	for i := range text {
		text[i] = '-'
	}
	hex.Encode(text[0:8], raw[0:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:36], raw[10:16])
	return string(text[:])
}
