package admin

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// The groups that the document sorts calls into.
const (
	tagServer      = "server"
	tagAccounts    = "accounts"
	tagFunctions   = "functions"
	tagFlows       = "flows"
	tagQueues      = "queues"
	tagDeadLetters = "dead letters"
)

// op describes a call. Its id is what generated clients call it.
func op(method, path, id, tag, summary string) huma.Operation {
	return huma.Operation{Method: method, Path: path, OperationID: id, Tags: []string{tag}, Summary: summary}
}

// calls adds every call of the API but those of the document itself.
func (a *api) calls() {
	d := a.door
	const get, put, post, remove = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete

	call(a, op(get, "/api/v1/version", "version", tagServer, "What the server is"), anyKey, d.version)
	call(a, op(get, "/api/v1/stats", "stats", tagServer, "Numbers of flows, functions and queues"), anyKey, d.stats)
	call(a, op(post, "/api/v1/apply", "apply", tagServer, "Make the server what a spec file says; functions need an admin key"), anyUploads, d.apply)
	call(a, op(post, "/api/v1/reload", "reload", tagServer, "Read the server's own spec file again"), adminKey, d.reload)
	call(a, streamed(op(get, "/api/v1/backup", "backup", tagServer, "A tar of all data"), mediaTar), adminKey, d.backup)
	call(a, a.logsOp(), anyKey, d.logs)

	call(a, op(get, "/api/v1/whoami", "whoami", tagAccounts, "Whose the key is, and what it may do"), anyKey, d.whoami)
	call(a, op(get, "/api/v1/audit", "audit", tagAccounts, "Who changed what, the newest first"), anyKey, d.audit)
	call(a, op(get, "/api/v1/accounts", "list-accounts", tagAccounts, "List accounts: the caller's and its organisations, or all for an admin key"), anyKey, d.listAccounts)
	const account = "/api/v1/accounts/{account}"
	call(a, op(get, account, "find-account", tagAccounts, "One account"), anyKey, d.findAccount)
	call(a, op(put, account, "put-account", tagAccounts, "Create or change an account"), adminKey, d.putAccount)
	call(a, op(put, account+"/members/{user}", "add-member", tagAccounts, "Make a user a member of an organisation"), adminKey, d.addMember)
	call(a, op(remove, account+"/members/{user}", "remove-member", tagAccounts, "End a membership"), adminKey, d.removeMember)
	call(a, op(get, account+"/keys", "list-keys", tagAccounts, "List the keys of an account, without their secrets"), anyKey, d.listKeys)
	call(a, op(post, account+"/keys", "make-key", tagAccounts, "Make a key; its token is told once"), anyKey, d.makeKey)
	const key = "/api/v1/keys/{key}"
	call(a, op(put, key, "change-key", tagAccounts, "Change the label, the permissions or the end of a key"), anyKey, d.changeKey)
	call(a, op(post, key+"/rotate", "rotate-key", tagAccounts, "Make a key in the place of another, which ends a while later"), anyKey, d.rotateKey)
	call(a, op(remove, key, "remove-key", tagAccounts, "Remove a key, which is refused at once"), anyKey, d.removeKey)

	call(a, op(get, "/api/v1/functions", "list-functions", tagFunctions, "List functions"), anyKey, d.listFunctions)
	const function = "/api/v1/functions/{owner}/{name}"
	call(a, op(get, function, "find-function", tagFunctions, "One function"), anyKey, d.findFunction)
	call(a, op(put, function, "deploy-function", tagFunctions, "Deploy a function"), managesUploads, d.deploy)
	call(a, op(remove, function, "delete-function", tagFunctions, "Remove a function"), manages, d.deleteFunction)
	call(a, op(get, function+"/builds", "list-builds", tagFunctions, "The builds of a function"), anyKey, d.listBuilds)
	call(a, a.uploadOp(function+"/builds"), managesStreams, d.upload)
	call(a, op(get, function+"/builds/{build}", "find-build", tagFunctions, "One build"), anyKey, d.findBuild)
	call(a, streamed(op(get, function+"/builds/{build}/log", "build-log", tagFunctions, "The log of a build"), mediaText), anyKey, d.buildLog)
	call(a, invokeOp(function+"/invoke"), anyKeySends, d.invoke)
	call(a, op(get, function+"/secrets", "list-secrets", tagFunctions, "List the secrets of a function, without their values"), anyKey, d.listSecrets)
	const secret = function + "/secrets/{secret}"
	call(a, op(put, secret, "put-secret", tagFunctions, "Set a secret of a function; its workers are replaced"), managesSecret, d.putSecret)
	call(a, op(remove, secret, "delete-secret", tagFunctions, "Remove a secret of a function; its workers are replaced"), manages, d.deleteSecret)
	call(a, op(post, function+"/rollback", "rollback-function", tagFunctions, "Make the previous version live again, or another one"), manages, d.rollback)
	call(a, op(get, function+"/versions", "list-versions", tagFunctions, "List the versions of a function"), anyKey, d.listVersions)
	call(a, op(post, function+"/versions", "publish-version", tagFunctions, "Publish a version: give it a number, notes and samples"), managesSends, d.publish)
	const version = function + "/versions/{version}"
	call(a, op(get, version, "find-version", tagFunctions, "One version, with its notes and samples"), anyKey, d.findVersion)
	call(a, op(remove, version, "delete-version", tagFunctions, "Remove a version that nothing names"), manages, d.removeVersion)
	const alias = function + "/aliases/{alias}"
	call(a, op(put, alias, "set-alias", tagFunctions, "Make or move an alias of a version"), manages, d.setAlias)
	call(a, op(remove, alias, "delete-alias", tagFunctions, "Remove an alias that no flow uses"), manages, d.deleteAlias)

	call(a, op(get, "/api/v1/flows", "list-flows", tagFlows, "List flows"), queueKey, d.listFlows)
	const flow = "/api/v1/flows/{flow}"
	call(a, op(get, flow, "find-flow", tagFlows, "One flow"), queueKey, d.findFlow)
	call(a, op(put, flow, "put-flow", tagFlows, "Create or change a flow"), queueKey, d.putFlow)
	call(a, op(remove, flow, "delete-flow", tagFlows, "Drain a flow and remove it"), queueKey, d.deleteFlow)
	call(a, op(post, flow+"/pause", "pause-flow", tagFlows, "Stop the intake of a flow"), queueKey, d.pauseFlow)
	call(a, op(post, flow+"/resume", "resume-flow", tagFlows, "Go on with a flow"), queueKey, d.resumeFlow)
	call(a, op(get, flow+"/explain", "explain-flow", tagFlows, "Why a flow moves or does not"), queueKey, d.explainFlow)

	call(a, op(get, "/api/v1/queues", "list-queues", tagQueues, "List queues"), queueKey, d.listQueues)
	const queue = "/api/v1/queues/{queue}"
	call(a, op(get, queue, "find-queue", tagQueues, "One queue"), queueKey, d.findQueue)
	call(a, op(put, queue, "put-queue", tagQueues, "Create or change a queue"), queueKey, d.putQueue)
	call(a, op(remove, queue, "delete-queue", tagQueues, "Remove a queue"), queueKey, d.deleteQueue)
	call(a, op(get, queue+"/messages", "peek", tagQueues, "Look at messages without receiving them"), queueKey, d.peek)
	call(a, op(post, queue+"/messages", "send", tagQueues, "Send 1 to 100 messages"), queueSends, d.send)
	call(a, op(post, queue+"/pause", "pause-queue", tagQueues, "Have receives find nothing; sends are taken"), queueKey, d.pauseQueue)
	call(a, op(post, queue+"/resume", "resume-queue", tagQueues, "End a pause"), queueKey, d.resumeQueue)
	call(a, op(put, queue+"/delivery", "set-delivery", tagQueues, "Deliver in random order, or some messages twice"), queueKey, d.setDelivery)
	call(a, op(post, queue+"/move", "move-messages", tagQueues, "Move chosen messages to another queue"), queueKey, d.moveMessages)
	call(a, op(post, queue+"/copy", "copy-messages", tagQueues, "Send copies of chosen messages to another queue"), queueKey, d.copyMessages)
	call(a, op(post, queue+"/purge", "purge", tagQueues, "Remove all messages"), queueKey, d.purge)

	call(a, op(get, "/api/v1/dead-letters", "list-dead-letters", tagDeadLetters, "List the queues of dead letters"), queueKey, d.listDeadLetters)
	const dead = "/api/v1/dead-letters/{queue}"
	call(a, op(get, dead, "read-dead-letters", tagDeadLetters, "Read dead letters"), queueKey, d.readDeadLetters)
	call(a, op(post, dead+"/redrive", "redrive", tagDeadLetters, "Move dead letters back"), queueKey, d.redrive)
}

// streamed describes an answer that is not JSON.
func streamed(op huma.Operation, media string) huma.Operation {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "OK",
		Content:     map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	return op
}

func (a *api) logsOp() huma.Operation {
	out := streamed(op(http.MethodGet, "/api/v1/logs", "logs", tagServer, "What functions printed and what happened to them"), mediaEvents)
	lines := a.schemaOf(logLines{})
	out.Responses["200"].Content[mediaJSON] = &huma.MediaType{Schema: lines}
	out.Responses["200"].Content[mediaEvents].Schema = &huma.Schema{
		Type: huma.TypeString, Description: `With follow: for each line an event "log", whose data is a LogLine. A comment at least every 15 s.`,
	}
	return out
}

// invokeOp describes bodies that are the function's own. They are read as they
// are.
func invokeOp(path string) huma.Operation {
	out := op(http.MethodPost, path, "invoke-function", tagFunctions, "Call a function and wait for what it returns")
	payload := func() map[string]*huma.MediaType {
		return map[string]*huma.MediaType{
			mediaJSON:  {Schema: &huma.Schema{Description: "What the handler sees decoded."}},
			mediaText:  {Schema: &huma.Schema{Type: huma.TypeString}},
			mediaBytes: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}
	}
	text := func() *huma.Schema { return &huma.Schema{Type: huma.TypeString} }
	headers := map[string]*huma.Param{
		"Runnel-Version":    {Description: "The version that answered.", Schema: text()},
		"Runnel-Invocation": {Description: "The id of the call, as in the logs.", Schema: text()},
		"Runnel-Wait-Ms":    {Description: "How long the call waited for a worker, in milliseconds.", Schema: text()},
		"Runnel-Run-Ms":     {Description: "How long it took on the worker, in milliseconds.", Schema: text()},
	}
	out.SkipValidateBody = true
	out.RequestBody = &huma.RequestBody{Description: "The payload. None: null.", Content: payload()}
	out.Responses = map[string]*huma.Response{
		"200": {Description: "What the function returned, in its media type.", Content: payload(), Headers: headers},
		"204": {Description: "The function returned nothing.", Headers: headers},
	}
	return out
}
