package runnel

import "context"

// Connector is one kind of outside system: how it is configured, and how a
// connection to it is opened. Connectors are chosen by the program that is
// built (see connector/all): nothing registers itself.
type Connector struct {
	// Config returns a new zero configuration, to be decoded into.
	Config func() Config
	// Open connects. It returns when the system has answered once, or with
	// the reason why not.
	Open func(ctx context.Context, c Config) (Broker, error)
}

// Config is the configuration of one connector.
type Config interface {
	// Validate returns every fault at once, joined; each is a *FieldError.
	Validate() error
}

// Broker is a connection to an outside system, or to Runnel's own queues.
type Broker interface {
	// Source opens the source that ref names, in the system's own terms
	// (a queue's name, "topic?group=g"). CodeNotFound if there is none.
	Source(ref string) (Source, error)
	// Sink opens the sink that ref names. CodeNotFound if there is none.
	Sink(ref string) (Sink, error)
	// Check returns nil if the system answers and accepts our credentials.
	Check(ctx context.Context) error
	// Close ends the connection and all sources and sinks opened by it.
	Close(ctx context.Context) error
}

// Lister is a broker that can say which queues or topics it has.
type Lister interface {
	List(ctx context.Context) ([]string, error)
}
