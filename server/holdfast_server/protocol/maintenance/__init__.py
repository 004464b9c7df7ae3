"""Work on whole stores: garbage collection, checks and repair.

Promises that nothing is removed that a live marker needs, that dead objects stay for the grace, and that a workflow
which cannot be worked on stops no other. When to run is decided by the server's housekeeping and by the operator.

Read `gc` first, the collection of one workflow, then `sweep`, that of a store. `fsck` checks a store and `repair`
records lost markers as deleted. `add_macs` gives all objects MACs. `each_workflow` works on every workflow of a store,
some at a time, and `inventory` lists their objects. `usage` measures what they take, and `usage_pages` in pages.
`reports` keeps what the last collection and the last check found.
"""

__all__ = ["add_macs", "each_workflow", "fsck", "gc", "inventory", "reports", "sweep", "usage", "usage_pages"]
