package worker

// Without takes means away from this server until undo is called: "groups",
// "sweep", "users", "mounts".
func Without(names ...string) (undo func()) {
	m := available()
	was := *m
	for _, name := range names {
		const why = "taken away by a test"
		switch name {
		case "groups":
			m.groups = why
		case "sweep":
			m.sweep = why
		case "users":
			m.users = why
		case "mounts":
			m.mounts = why
		}
	}
	return func() { *m = was }
}

// OwnGroup is where this server makes control groups, or why not.
var OwnGroup = ownGroup
