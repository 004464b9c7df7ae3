"""Render the API reference from the proto files: calls, messages and enums with their comments."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parent.parent
_PROTO = ROOT / "proto"
_PACKAGE = ".holdfast.v1."
# An item of a call's list of reasons.
_REASON = re.compile(r"(?m)^- ([A-Z_]+(?:, [A-Z_]+)*):")
# https://protobuf.dev/reference/cpp/api-docs/google.protobuf.descriptor/: field numbers in paths of source locations.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _VALUE, _METHOD = 2, 2, 2


class _File:
    """One proto file with the comment before each of its declarations."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.descriptor = file
        self._comments = {
            tuple(location.path): location.leading_comments for location in file.source_code_info.location
        }

    def comment(self, *path: int) -> list[str]:
        """Return the lines of the comment before a declaration; Markdown wants an empty line before a list."""
        text = self._comments.get(path, "").rstrip()
        lines = [line.removeprefix(" ").rstrip() for line in text.splitlines()]
        return re.sub(r"(?m)^(?!- |  |$)(.+)\n(?=- )", r"\1\n\n", "\n".join(lines)).splitlines()

    def services(self) -> list[str]:
        """Return the services, each call with its request and response."""
        lines = []
        for number, service in enumerate(self.descriptor.service):
            lines += [f"## {service.name} {{#{service.name}}}", "", *self.comment(_SERVICE, number), ""]
            lines += self._calls(number, service)
        return lines

    def _calls(self, number: int, service: ServiceDescriptorProto) -> list[str]:
        lines = []
        for index, call in enumerate(service.method):
            lines += [f"### {call.name} {{#{call.name}}}", "", f"{_signature(call)}", ""]
            lines += [*self.comment(_SERVICE, number, _METHOD, index), ""]
        return lines

    def messages(self) -> list[str]:
        """Return the messages, each with a table of its fields."""
        lines = []
        for number, message in enumerate(self.descriptor.message_type):
            lines += [f"### {message.name} {{#{message.name}}}", "", *self.comment(_MESSAGE, number), ""]
            if message.field:
                lines += ["| field | type | meaning |", "|---|---|---|"]
                lines += [self._field(number, index, message) for index in range(len(message.field))]
                lines.append("")
        return lines

    def _field(self, number: int, index: int, message: DescriptorProto) -> str:
        field = message.field[index]
        meaning = " ".join(self.comment(_MESSAGE, number, _FIELD, index))
        return f"| `{field.name}` | {_type(field, message)} | {meaning.replace('|', chr(92) + '|')} |"

    def enums(self) -> list[str]:
        """Return the enums, each with a table of its values."""
        lines = []
        for number, enum in enumerate(self.descriptor.enum_type):
            lines += [f"### {enum.name} {{#{enum.name}}}", "", *self.comment(_ENUM, number), ""]
            lines += ["| value | number | meaning |", "|---|---|---|", *self._values(number, enum), ""]
        return lines

    def _values(self, number: int, enum: EnumDescriptorProto) -> list[str]:
        return [
            f"| `{value.name}` | {value.number} | {' '.join(self.comment(_ENUM, number, _VALUE, index))} |"
            for index, value in enumerate(enum.value)
        ]


def page() -> str:
    """Return the API reference as Markdown."""
    files = [_File(file) for file in _described()]
    lines = [
        "# The API",
        "",
        "Generated from `proto/holdfast/v1/`. The server also has gRPC health checking and reflection.",
        "Each failed call is described by an [error reason](errors.md).",
        "",
    ]
    for file in files:
        lines += file.services()
    lines += ["## Messages", ""]
    for file in files:
        lines += file.messages()
    lines += ["## Enums", ""]
    for file in files:
        lines += file.enums()
    return _REASON.sub(_link_to_reason, "\n".join(lines) + "\n")


def _link_to_reason(match: re.Match[str]) -> str:
    """Link a reason at the begin of a list item to its part of the page of errors."""
    names = (f"[{name}](errors.md#{name.lower()})" for name in match[1].split(", "))
    return f"- {', '.join(names)}:"


def _described() -> list[FileDescriptorProto]:
    """Return the API's files with their comments; the file with the service comes first."""
    sources = sorted(_PROTO.glob("holdfast/v1/*.proto"))
    with tempfile.NamedTemporaryFile(suffix=".binpb") as output:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{_PROTO}", "--include_source_info"]
        subprocess.run([*command, f"--descriptor_set_out={output.name}", *map(str, sources)], check=True)
        described = FileDescriptorSet.FromString(Path(output.name).read_bytes())
    return sorted(described.file, key=lambda file: (not file.service, file.name))


def _signature(call: MethodDescriptorProto) -> str:
    asked = ("stream " if call.client_streaming else "") + _link(call.input_type)
    answered = ("stream " if call.server_streaming else "") + _link(call.output_type)
    return f"{asked} → {answered}"


def _type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        return f"map of {_type(entry.field[0], entry)} to {_type(entry.field[1], entry)}"
    name = _link(field.type_name) if field.type_name else FieldDescriptorProto.Type.Name(field.type)[5:].lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def _link(type_name: str) -> str:
    short = type_name.removeprefix(_PACKAGE)
    return short.removeprefix(".") if short == type_name else f"[{short}](#{short})"
