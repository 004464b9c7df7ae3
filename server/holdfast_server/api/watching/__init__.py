"""Watches of workflows: `feed` polls a workflow once for all its watchers, `watches` keeps the feeds of a service."""
