// Package conformance holds foreign clients' sessions with our doors: programs
// that are not ours, unmodified, in their newest version, against the real
// binary. Its tests build cmd/runnel, start "runnel dev" and "runnel serve", and
// run the sessions of
//
//	boto3/    boto3 by either protocol, in Python
//	awscli/   AWS CLI v2, in a shell script
//	gosdk_*   aws-sdk-go-v2, as Go tests
//	js/       aws-sdk-js v3, and v2 by either protocol, in JavaScript
//	celery/   Celery's producer and workers, the newest and Debian's, in Python
//
// and code for other platforms in functions of ours:
//
//	algorithmia/  a program for Algorithmia's ADK
//	lambda/       handlers for AWS Lambda in Python and Node
//	golambda/     a program on AWS's own library in Go
//	endpoint/     an HTTP service
//
// README.md says what they cover and which versions they run. Clients from
// elsewhere than Go need ./install to have run; without it they are skipped, or
// fail where CI is set in the environment.
package conformance
