"""The parts of a payload, in blobs of their own or inside a marker.

Promises that a block is checked before it is returned, that memory stays at a few blocks for a part of any size, and
that a blob is durable before a marker can name it. Which checkpoint a part belongs to is not known here.

Read `parts` first, which writes large ones, then `encoding`, which stores those that are in memory, and `reads`.
`policy` chooses what a part rests on, `frames` encodes and decodes, `bases` rebuilds. `digests` computes checksums, in
threads where that pays; `read_ahead` fetches the next blocks while one is sent.
"""

__all__ = ["bases", "digests", "encoding", "frames", "parts", "policy", "read_ahead", "reads"]
