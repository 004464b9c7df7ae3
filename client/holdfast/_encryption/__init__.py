"""Encryption by the client: what a server stores is sealed before it leaves this process.

`holdfast.encryption` is the public module; `docs/reference/encryption-format.md` states the format.

Nothing of the client imports this package before a client is given a keyring.
"""
