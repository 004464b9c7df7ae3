"""The pages, each a module whose functions take a visit and return an answer."""
