package algorithmia

// Listeners is what this part of the API wants of the server.
type Listeners interface{}

func (d *Door) listenerRoutes() []Route { return nil }
