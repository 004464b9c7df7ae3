"""Pipelines: many calls on one stream, each served like a unary call."""
