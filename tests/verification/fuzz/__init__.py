"""Fuzzing of everything that parses foreign bytes: any input may fail only in the ways that the parser documents.

`targets/` has a check for each parser, a plain function of bytes. `corpus/` has inputs of each, among them all that
ever found something; every test run replays them. `python -m tests.verification.fuzz` searches for more by coverage.
"""
