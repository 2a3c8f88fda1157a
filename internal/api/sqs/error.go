package sqs

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/queue"
)

// kind is one sort of refusal, as it looks on the wire.
type kind struct {
	// shape is the __type of the JSON protocol. What the service model of SQS
	// names is in the namespace of SQS, all else in that of the framework
	// below it; clients read only what follows the "#".
	shape string
	// query is the code of the query protocol. The JSON protocol has it in
	// the header x-amzn-query-error, where newer clients read it, and in the
	// failed entries of a batch.
	query  string
	status int
}

const (
	model  = "com.amazonaws.sqs#"
	common = "com.amazon.coral.service#"
	prefix = "AWS.SimpleQueueService."
)

// All the refusals of this door.
var (
	queueDoesNotExist      = &kind{model + "QueueDoesNotExist", prefix + "NonExistentQueue", http.StatusBadRequest}
	queueNameExists        = &kind{model + "QueueNameExists", "QueueAlreadyExists", http.StatusBadRequest}
	invalidAttributeName   = &kind{model + "InvalidAttributeName", "InvalidAttributeName", http.StatusBadRequest}
	invalidAttributeValue  = &kind{model + "InvalidAttributeValue", "InvalidAttributeValue", http.StatusBadRequest}
	invalidMessageContents = &kind{model + "InvalidMessageContents", "InvalidMessageContents", http.StatusBadRequest}
	receiptHandleIsInvalid = &kind{model + "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", http.StatusNotFound}
	messageNotInflight     = &kind{model + "MessageNotInflight", prefix + "MessageNotInflight", http.StatusBadRequest}
	purgeQueueInProgress   = &kind{model + "PurgeQueueInProgress", prefix + "PurgeQueueInProgress", http.StatusForbidden}
	overLimit              = &kind{model + "OverLimit", "OverLimit", http.StatusForbidden}
	unsupportedOperation   = &kind{model + "UnsupportedOperation", prefix + "UnsupportedOperation", http.StatusBadRequest}
	resourceNotFound       = &kind{model + "ResourceNotFoundException", "ResourceNotFoundException", http.StatusNotFound}
	invalidAddress         = &kind{model + "InvalidAddress", "InvalidAddress", http.StatusNotFound}

	emptyBatchRequest            = &kind{model + "EmptyBatchRequest", prefix + "EmptyBatchRequest", http.StatusBadRequest}
	tooManyEntriesInBatchRequest = &kind{model + "TooManyEntriesInBatchRequest", prefix + "TooManyEntriesInBatchRequest", http.StatusBadRequest}
	batchEntryIDsNotDistinct     = &kind{model + "BatchEntryIdsNotDistinct", prefix + "BatchEntryIdsNotDistinct", http.StatusBadRequest}
	invalidBatchEntryID          = &kind{model + "InvalidBatchEntryId", prefix + "InvalidBatchEntryId", http.StatusBadRequest}
	batchRequestTooLong          = &kind{model + "BatchRequestTooLong", prefix + "BatchRequestTooLong", http.StatusBadRequest}

	invalidParameterValue = &kind{common + "InvalidParameterValueException", "InvalidParameterValue", http.StatusBadRequest}
	missingParameter      = &kind{common + "MissingRequiredParameterException", "MissingParameter", http.StatusBadRequest}
	malformedInput        = &kind{common + "SerializationException", "MalformedInput", http.StatusBadRequest}
	unknownOperation      = &kind{common + "UnknownOperationException", "InvalidAction", http.StatusBadRequest}
	methodNotAllowed      = &kind{common + "UnknownOperationException", "InvalidAction", http.StatusMethodNotAllowed}
	missingAction         = &kind{common + "MissingActionException", "MissingAction", http.StatusBadRequest}
	noSuchVersion         = &kind{common + "InvalidVersionException", "NoSuchVersion", http.StatusBadRequest}
	tooLarge              = &kind{common + "RequestEntityTooLargeException", "RequestEntityTooLarge", http.StatusRequestEntityTooLarge}
	accessDenied          = &kind{common + "AccessDeniedException", "AccessDenied", http.StatusForbidden}
	missingAuthentication = &kind{common + "MissingAuthenticationTokenException", "MissingAuthenticationToken", http.StatusForbidden}
	expiredToken          = &kind{common + "ExpiredTokenException", "ExpiredToken", http.StatusForbidden}
	unrecognizedClient    = &kind{common + "UnrecognizedClientException", "InvalidClientTokenId", http.StatusForbidden}
	invalidSignature      = &kind{common + "InvalidSignatureException", "SignatureDoesNotMatch", http.StatusForbidden}
	incompleteSignature   = &kind{common + "IncompleteSignatureException", "IncompleteSignature", http.StatusBadRequest}
	throttling            = &kind{common + "ThrottlingException", "ThrottlingException", http.StatusTooManyRequests}
	serviceUnavailable    = &kind{common + "ServiceUnavailableException", "ServiceUnavailable", http.StatusServiceUnavailable}
	internalFailure       = &kind{common + "InternalFailure", "InternalFailure", http.StatusInternalServerError}
)

// sentinels are the errors of the packages below, and of which kind they are.
// The first that matches counts.
var sentinels = []struct {
	err  error
	kind *kind
	text string // empty: the error's own
}{
	{auth.ErrMissing, missingAuthentication, ""},
	{auth.ErrMalformed, incompleteSignature, ""},
	{auth.ErrUnknownKey, unrecognizedClient, ""},
	{auth.ErrKeyExpired, unrecognizedClient, ""},
	{auth.ErrTooMany, throttling, ""},
	{auth.ErrSignature, invalidSignature, ""},
	{auth.ErrExpired, invalidSignature, ""}, // and not RequestExpired, which Amazon SQS documents and does not send
	{auth.ErrSessionExpired, expiredToken, ""},
	{queue.ErrNotInFlight, messageNotInflight, "The specified message isn't in flight."},
	{queue.ErrOverLimit, overLimit, fmt.Sprintf("Too many messages of this queue are in flight: the limit is %d. Delete messages, or wait for their visibility timeouts to end.", queue.MaxInFlight)},
	{runnel.ErrClosed, serviceUnavailable, "The server is shutting down."},
}

// codes are all other errors that carry a code. What is in neither table is
// an internal failure, whose text goes to the log only.
var codes = map[runnel.Code]*kind{
	runnel.CodeInvalid:     invalidParameterValue,
	runnel.CodeNotFound:    queueDoesNotExist,
	runnel.CodeConflict:    queueNameExists,
	runnel.CodeDenied:      accessDenied,
	runnel.CodeTooLarge:    invalidParameterValue,
	runnel.CodeLimit:       overLimit,
	runnel.CodeUnsupported: unsupportedOperation,
	runnel.CodeUnavailable: serviceUnavailable,
}

// failure is a refusal with its sentence for the caller.
type failure struct {
	*kind
	message string
}

// Error returns the code and the sentence.
func (f *failure) Error() string { return f.query + ": " + f.message }

// sender says whether the fault is the caller's.
func (f *failure) sender() bool { return f.status < http.StatusInternalServerError }

// says makes an error of this kind.
func (k *kind) says(format string, args ...any) error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &failure{k, format}
}

// failureOf returns err as the caller is told of it. known is false for a
// fault of ours.
func failureOf(err error) (f *failure, known bool) {
	if errors.As(err, &f) {
		return f, true
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			text := s.text
			if text == "" {
				text = err.Error()
				text = strings.ToUpper(text[:1]) + text[1:]
			}
			return &failure{s.kind, text}, true
		}
	}
	var e *runnel.Error
	if errors.As(err, &e) {
		if k := codes[e.Code]; k == queueDoesNotExist {
			return &failure{k, textNoQueue}, true
		} else if k != nil {
			return &failure{k, e.Message}, true
		}
	}
	return &failure{internalFailure, "The server has failed to do this. Its log has the reason under the id of this request."}, false
}

// Sentences that more than one file needs.
const (
	textNoQueue     = "The specified queue does not exist."
	textNoQueueXML  = "The specified queue does not exist for this wsdl version." // of old clients, some of which look for it
	textCharacters  = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
	textQueueName   = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
	reasonQueueType = "The request include parameter that is not valid for this queue type."
)

// maxEcho is how much of a value is repeated in an error about it.
const maxEcho = 1024

// textOf is the sentence of an error of this door.
func textOf(err error) string {
	f, _ := failureOf(err)
	return f.message
}

// missing refuses a call without a required parameter.
func missing(parameter string) error {
	return missingParameter.says("The request must contain the parameter %s.", parameter)
}

// invalid refuses a parameter's value, with the reason.
func invalid(parameter string, value any, reason string) error {
	if s, ok := value.(string); ok && len(s) > maxEcho {
		value = s[:maxEcho] + "..."
	}
	return invalidParameterValue.says("Value %v for parameter %s is invalid. Reason: %s", value, parameter, reason)
}

// receiptError is what a queue's error about a receipt means to the caller who
// sent the handle, and the visibility timeout if it was to be changed.
func receiptError(err error, handle string, timeout int) error {
	switch {
	case errors.Is(err, queue.ErrBadReceipt):
		return receiptHandleIsInvalid.says("The receipt handle \"%.*s\" is not valid for this queue.", maxEcho, handle)
	case errors.Is(err, queue.ErrReceiptExpired):
		return invalid("ReceiptHandle", handle, "The receipt handle has expired.")
	case errors.Is(err, queue.ErrNoMessage):
		return invalid("ReceiptHandle", handle, "Message does not exist or is not available for visibility timeout change.")
	case errors.Is(err, queue.ErrTotalVisibility):
		return invalid("VisibilityTimeout", timeout, "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	}
	return err
}

// parseReceipt reads a receipt handle.
func parseReceipt(handle string) (queue.Receipt, error) {
	if handle == "" {
		return queue.Receipt{}, missing("ReceiptHandle")
	}
	r, err := queue.ParseReceipt(handle)
	if err != nil {
		return r, receiptHandleIsInvalid.says("The input receipt handle \"%.*s\" is not a valid receipt handle.", maxEcho, handle)
	}
	return r, nil
}
