// Package spec reads the file that declares what a server is and runs: YAML
// into the root's types. docs/spec.md describes every key.
//
// Three things always hold. Every fault of a file is reported at once, each
// with its line and the path of its key. Parse opens nothing and changes
// nothing: what it must know of the world (environment, files, what runs
// already) it asks the functions of Options. And whatever the text is, Parse
// ends soon: size, depth and what aliases expand to are bounded.
package spec
