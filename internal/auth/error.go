package auth

import "github.com/runnel-io/runnel"

// The reasons for which Verify refuses a request. What it returns wraps one of
// them and says more; its text is meant for the caller and holds no secret.
// Doors that know one answer only can go by their code, runnel.CodeDenied.
var (
	// ErrMissing: the request carries no credentials.
	ErrMissing = runnel.Errorf(runnel.CodeDenied, "no credentials")
	// ErrMalformed: the credentials cannot be read, or lack a part.
	ErrMalformed = runnel.Errorf(runnel.CodeDenied, "malformed credentials")
	// ErrUnknownKey: there is no key with this id.
	ErrUnknownKey = runnel.Errorf(runnel.CodeDenied, "unknown key")
	// ErrKeyExpired: the key has ended.
	ErrKeyExpired = runnel.Errorf(runnel.CodeDenied, "key expired")
	// ErrTooMany: so many requests with wrong credentials have come from the
	// address that it is not told any more what is wrong.
	ErrTooMany = runnel.Errorf(runnel.CodeLimit, "too many wrong credentials")
	// ErrSignature: the key exists, and the signature, or the secret of a
	// token, is not the one that it makes for this request and service.
	ErrSignature = runnel.Errorf(runnel.CodeDenied, "signature does not match")
	// ErrSessionExpired: the session has ended whose credentials these are.
	ErrSessionExpired = runnel.Errorf(runnel.CodeDenied, "session expired")
	// ErrExpired: the request was signed too long ago, or in the future.
	ErrExpired = runnel.Errorf(runnel.CodeDenied, "signature expired or not yet valid")
)
