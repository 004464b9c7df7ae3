"""The commit protocol over an object store.

Read the packages in this order; each imports only those before it:

1. `format`: the keys and the bytes of everything in a store.
2. `log`: the commit log of a workflow, and the rules by which an entry may follow another.
3. `payload`: parts, in blobs and in markers.
4. `checkpoints`: the operations that the API offers.
5. `maintenance`: garbage collection, checks and repair of whole stores.

`errors` has the one hierarchy of errors. Other packages import modules, never names of a package: `__all__` of each
package lists the modules that they may import, and import-linter enforces that and the order.
"""

__all__ = ["checkpoints", "errors", "format", "log", "maintenance", "payload"]
