"""The handlers of the service's methods, one module per subject.

A handler checks the fields of its request, calls the protocol and builds the response. It may raise any HoldfastError,
StoreError or TimeoutError: `holdfast_server.api.calls` turns them into a status.
"""
