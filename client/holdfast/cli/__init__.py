"""The command `holdfast`: what the client can do, from a shell."""
