package algorithmia

// Accounts is what this part of the API wants of the server.
type Accounts interface{}

func (d *Door) accountRoutes() []Route { return nil }
