"""Archives: a store, a namespace or a workflow as one stream, and its way back into any store.

Promises that an archive states the digest of everything in it, that one which was cut off shows it, and that a restore
never changes what a store already has. What an archive contains is a state that every workflow had.

Read `members` first, the format. `writer` and `reader` are the stream, `export` fills an archive, `restore` puts what
is in one into a store, and `resume` finds where one that was cut off can be continued.
"""

__all__ = ["export", "members", "reader", "restore", "resume", "writer"]
