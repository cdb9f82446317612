"""The client of the server: remote stages, and the placement of a service option."""
