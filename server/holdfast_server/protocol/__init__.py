"""The commit protocol: marker, log, save, load, validate, delete. It knows neither gRPC nor S3."""
