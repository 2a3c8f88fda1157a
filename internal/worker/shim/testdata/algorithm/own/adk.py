NAME = "my own"
