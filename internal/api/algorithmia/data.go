package algorithmia

// Data is what this part of the API wants of the server.
type Data interface{}

func (d *Door) dataRoutes() []Route { return nil }
