"""Payloads of streamed saves and loads, in bounded memory, and uploads that outlive their stream."""
