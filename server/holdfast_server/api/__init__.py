"""The gRPC side of the server: requests checked, errors put on the wire, one servicer."""
