"""What lies in a store: keys, the bytes of small objects, and the rules that hold for them.

Promises that a stored object is either understood completely or refused: damage is CHECKPOINT_CORRUPTED, an object of a
newer server is LAYOUT_UNSUPPORTED. Knows nothing of when objects are written or removed.

Read `keys` first, then `frame`, `marker` and its `invariants`; `short_forms` and `dictionary` make markers small.
`macs` show that a server of the store wrote an object: `keyed_store` adds and checks them, `keyed_manifest` does so
for the manifest. `id_index` divides the index of ids into objects. `names` checks namespaces and ids. `manifest` is the
store-wide object, `ids` makes checkpoint ids, `revision_set` holds the deleted revisions of a log, `bounded_read` reads
a small object whole, `sealed` recognises a part that a client encrypted.
"""

__all__ = [
    "bounded_read",
    "dictionary",
    "frame",
    "id_index",
    "ids",
    "invariants",
    "keyed_manifest",
    "keyed_store",
    "keys",
    "macs",
    "manifest",
    "marker",
    "names",
    "revision_set",
    "sealed",
    "short_forms",
]
