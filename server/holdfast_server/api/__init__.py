"""The gRPC API of the server.

`service` has one method per RPC. Each admits its call (`calls`, `admission`) and passes the request to a function in
`handlers`, which checks it (`requests`), calls the protocol and builds the response (`messages`, `contents`). Failures
become statuses in `calls`, `failures` and `errors`.
"""
