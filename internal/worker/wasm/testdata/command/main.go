// Command is a WASI command: it answers the event on its standard input.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	event, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch do, arg, _ := strings.Cut(string(event), " "); do {
	case "fail":
		fmt.Fprintln(os.Stderr, "what came before")
		fmt.Fprintln(os.Stderr, arg)
		os.Exit(3)
	case "env":
		fmt.Print(os.Getenv(arg))
	case "read":
		text, err := os.ReadFile(arg)
		fmt.Print(string(text), err)
	case "write":
		fmt.Print(os.WriteFile(arg, nil, 0o600))
	case "grow":
		big := make([]byte, 512<<20)
		fmt.Print(len(big))
	case "spin":
		for {
		}
	default:
		fmt.Print(string(event))
	}
}
