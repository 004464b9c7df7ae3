"""Requests that the protobuf library refuses: which field is to blame.

The library says only that a message could not be parsed. Read as a message without fields, the same bytes
keep every field as raw bytes beside its number, so that text which is not UTF-8 can be told by its name.
"""

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from holdfast.v1 import checkpoint_service_pb2

_METHODS = checkpoint_service_pb2.DESCRIPTOR.services_by_name["CheckpointService"].methods_by_name
_LENGTH_DELIMITED = 2


def request_type(method: str) -> Descriptor:
    """The type of a method's requests, by its full name."""
    return _METHODS[method.rpartition("/")[2]].input_type


def explain(raw: bytes, expected: Descriptor) -> tuple[str, str]:
    """The field that makes bytes no message of a type, and what is wrong with it."""
    bad_text = _bad_text(raw, expected, "")
    if bad_text is not None:
        return bad_text, "is not UTF-8"
    return "request", f"is no {expected.name}"


def _bad_text(raw: bytes, expected: Descriptor, path: str) -> str | None:
    try:
        fields = UnknownFieldSet(Empty.FromString(raw))
    except DecodeError:
        return None
    for field in (fields[index] for index in range(len(fields))):
        known = expected.fields_by_number.get(field.field_number)
        if known is None or field.wire_type != _LENGTH_DELIMITED:
            continue
        name = f"{path}{known.name}"
        if known.type == FieldDescriptor.TYPE_STRING and not _is_text(field.data):
            return name
        if known.message_type is not None:
            found = _bad_text(field.data, known.message_type, "" if name == "header" else f"{name}.")
            if found is not None:
                return found
    return None


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
