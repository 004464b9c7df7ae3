"""Convert Python objects to JSON and back, without pickle and without running code that the data chooses.

`encode` returns the JSON form of a value, `decode` the value of a form, and `dumps` a JSON text that it has read back
and compared.

- Values that JSON supports stay as they are. Subclasses of text and numbers come back as the plain type.
- Well-known types of the standard library have a form of their own (`forms`).
- Any other object is stored as the name of its class and its state, which `__getstate__` returns, and its content if
  it is a container or an exception.
- Only classes that the caller allows are written or restored. No constructor is called. A member of an enumeration is
  looked up by its name, or by its value if no name finds it.
- Objects that are referenced twice come back as two equal objects. Cycles are refused.
"""

from holdfast.adapters.objects.codec import decode, dumps, encode
from holdfast.adapters.objects.errors import NotAllowedError, TooDeepError, UnsupportedValueError, shown_key
from holdfast.adapters.objects.forms import type_name

__all__ = [
    "NotAllowedError",
    "TooDeepError",
    "UnsupportedValueError",
    "decode",
    "dumps",
    "encode",
    "shown_key",
    "type_name",
]
