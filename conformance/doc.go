// Package conformance holds foreign clients' sessions with our doors: programs
// that are not ours, unmodified, in their newest version, against the real
// binary. Its tests build cmd/runnel, start "runnel dev" and "runnel serve", and
// run the sessions of
//
//	boto3/    boto3, in Python
//	awscli/   AWS CLI v2, in a shell script
//	gosdk_*   aws-sdk-go-v2, as Go tests
//
// README.md says what they cover and which versions they run. The first two
// need ./install to have run; without it they are skipped, or fail where CI is
// set in the environment.
package conformance
