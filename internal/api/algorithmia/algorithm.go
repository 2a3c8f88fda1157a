package algorithmia

// Algorithms is what this part of the API wants of the server.
type Algorithms interface{}

func (d *Door) algorithmRoutes() []Route { return nil }
