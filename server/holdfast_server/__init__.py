"""The Holdfast server: a checkpoint store for workflow engines."""

SERVER_VERSION = "0.2.0"
