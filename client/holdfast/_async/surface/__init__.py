"""The calls of a client, by what they are for. `AsyncClient` has them all."""
