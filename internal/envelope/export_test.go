package envelope

import "github.com/runnel-io/runnel"

// BatchItemFailures and Elements are read from what functions return.
func BatchItemFailures(a *runnel.Answer) ([]runnel.MessageID, error) { return batchItemFailures(a) }
func Elements(list []byte) func(yield func([]byte) bool)             { return elements(list) }
func AppendString(b []byte, s string) []byte                         { return appendString(b, s) }
