package algorithmia

// Calls is what this part of the API wants of the server.
type Calls interface{}

func (d *Door) callRoutes() []Route { return nil }
