// Command lambda is a Lambda function that gives back what it gets, decoded and
// encoded again by AWS's own library. The scenario transport runs it.
package main

import "github.com/aws/aws-lambda-go/lambda"

func main() {
	lambda.Start(func(event any) (any, error) { return event, nil })
}
