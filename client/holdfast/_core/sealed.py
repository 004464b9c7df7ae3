"""How sealed data is recognised without a keyring: by its checkpoint's labels, or by the bytes that it begins with."""

# The first bytes of a sealed part or record; the last of them is the version of the format.
MAGIC = b"\x89HFSEAL1"
# The labels that hold a checkpoint's sealed cover begin with this, followed by a number of two digits from 00.
COVER_LABEL = "holdfast-sealed-"
FIRST_COVER_LABEL = f"{COVER_LABEL}00"
# Records that hold data keys, wrapped again by another key: how their keys and their data begin. These keys come
# before those of almost all other records, so that they are in the first page of a list.
KEYS_PREFIX = "!holdfast-keys-"
KEYS_MAGIC = b"\x89HFKEYS1"
