package server

// listener is what a flow is to clients of Algorithmia's event-listeners, as far
// as the flow does not say it itself.
type listener struct {
	// ID is a UUID.
	ID string `json:"id"`
	// SourceType and SourceURI are as the client wrote them, and From is what
	// they stood for: where the flow reads from elsewhere by now, they are of no
	// use.
	SourceType string `json:"source_type"`
	SourceURI  string `json:"source_uri"`
	From       string `json:"from"`
	// Credentials are for the source. They are sealed, and not used where the
	// queue is our own.
	Credentials string `json:"credentials,omitempty"`
	// Version is as the client wrote it, and Call what it stood for.
	Version string `json:"version,omitempty"`
	Call    string `json:"call"`
}
