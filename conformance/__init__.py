"""The conformance kit: cases that hold any client to the promises of the API. README.md describes it."""
