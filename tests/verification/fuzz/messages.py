"""Messages of any type, whose fields a reader of choices sets."""

from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.verification.fuzz.reader import Reader

_Message = TypeVar("_Message", bound=Message)

_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (32, True),
    FieldDescriptor.CPPTYPE_INT64: (64, True),
    FieldDescriptor.CPPTYPE_UINT32: (32, False),
    FieldDescriptor.CPPTYPE_UINT64: (64, False),
    FieldDescriptor.CPPTYPE_ENUM: (32, True),
}


def fill(message: _Message, reader: Reader) -> _Message:
    """Set fields of a message one after the other, until the reader chooses to stop."""
    fields = message.DESCRIPTOR.fields
    while fields and not reader.is_used_up and (choice := reader.below(len(fields) + 1)):
        _set(message, fields[choice - 1], reader)
    return message


def _set(message: Message, field: FieldDescriptor, reader: Reader) -> None:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if is_map:
        getattr(message, field.name)[reader.text()] = reader.text()
    elif field.message_type is not None:
        held = getattr(message, field.name)
        inner = held.add() if field.is_repeated else held
        if not field.is_repeated:
            inner.SetInParent()
        fill(inner, reader)
    elif field.is_repeated:
        getattr(message, field.name).append(_scalar(field, reader))
    else:
        setattr(message, field.name, _scalar(field, reader))


def _scalar(field: FieldDescriptor, reader: Reader) -> object:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return reader.raw()
    if field.type == FieldDescriptor.TYPE_STRING:
        return reader.text()
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return bool(reader.below(2))
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return float(reader.integer())
    bits, is_signed = _BITS[field.cpp_type]
    value = reader.integer() % 2**bits
    return value - 2**bits if is_signed and value >= 2 ** (bits - 1) else value
