"""Parsers under fuzz: what parses foreign bytes meets any bytes, and fails only in the ways that it documents.

`targets/` has a check for each parser, a plain function of bytes. `corpus/` has inputs of each, which every test run
replays, among them all that ever found something. `python -m tests.fuzz` looks for more with atheris, by coverage.
"""
