"""One module per parser. `check` takes any bytes and raises if the parser misbehaves."""
