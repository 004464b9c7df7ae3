"""One module for each parser: `check` takes any bytes, and raises where the parser does what it must not."""
