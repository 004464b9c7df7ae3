"""Watches of workflows.

`feed` polls a workflow once for all its watchers, `watches` keeps the feeds of a service, `heads` reads the heads with
which watches begin.
"""
