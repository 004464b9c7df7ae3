"""The commit log of a workflow: one marker for each revision.

Promises that one append wins a revision, that a fenced writer never appends, that a request appends at most once, and
that an append whose outcome cannot be learned fails with COMMIT_UNKNOWN. What an entry means is decided by
`checkpoints`, which build the markers.

Read `log` first, then `put_if_absent`, on which every promise rests, then `next_marker`. `append_once`, `recent` and
`replays` make requests commit once; `compare_and_set`, `leases` and `claims` are the further conditions of a commit.
`fresh_ids` finds ids that are not claimed, and `indexer` writes their index. `entry`, `revisions` and `walks` are the
ways to read a log.
"""

__all__ = [
    "append_once",
    "claims",
    "compare_and_set",
    "entry",
    "fresh_ids",
    "indexer",
    "leases",
    "log",
    "next_marker",
    "put_if_absent",
    "recent",
    "replays",
    "revisions",
    "walks",
]
