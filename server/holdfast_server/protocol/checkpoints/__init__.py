"""The operations that the API offers, each a function of a `Log`.

Promises that an operation takes effect by one commit or not at all, and that an answer was true at some time during the
call. Requests are parsed, admitted and answered in `api`.

Read `save` first, then `heads`, `live` and `lookup`, which find a checkpoint, then `load` and `validate`. `fence`,
`delete`, `prune` and `purge` append entries without a payload; `copy` repeats saves. `records` lie beside the log, a
`window` shows some of them, `namespaces` lists those of a store and `workflows` those of a namespace, `log_pages` shows
a log as it is, `follow` as it grows, `retention` decides which checkpoints may go.
"""

__all__ = [
    "copy",
    "delete",
    "fence",
    "follow",
    "heads",
    "load",
    "log_pages",
    "lookup",
    "namespaces",
    "prune",
    "purge",
    "records",
    "retention",
    "save",
    "validate",
    "window",
    "workflows",
]
