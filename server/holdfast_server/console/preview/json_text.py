"""Read JSON into a tree, also if the text is cut off.

Numbers stay as they are written, so that a number of any length is shown exactly. The constants NaN and Infinity,
which Python writes, are accepted. A map whose first key is "$type" is an object of the adapters.
"""

import json
import re

from holdfast_server.console.preview.tree import CONSTANT, LIST, MAP, NUMBER, OBJECT, TEXT, Limits, Node

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_REST_OF_NUMBER = re.compile(r"\.?[eE]?[-+]?")
_CONSTANT = re.compile(r"true|false|null|NaN|-?Infinity")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"')
_CUT_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*')
_TYPE = "$type"
_END = "what follows the part that was read"


class NotJsonError(ValueError):
    """A text is not JSON."""


def read_json(text: str, *, is_cut: bool, limits: Limits) -> Node:
    """Return the tree of a JSON text.

    Args:
        text: the text.
        is_cut: whether the document goes on after it.
        limits: the limits, which say afterwards whether anything was left out.

    Raises:
        NotJsonError: it is not JSON.

    """
    return _Reader(text, is_cut, limits).whole()


class _Reader:
    def __init__(self, text: str, is_cut: bool, limits: Limits) -> None:
        self._text = text
        self._is_cut = is_cut
        self._limits = limits
        self._at = 0

    def whole(self) -> Node:
        node = self._value(0)
        self._skip_space()
        if not self._limits.cut and self._at < len(self._text):
            raise NotJsonError(f"something follows the value, at character {self._at}")
        return node

    def _value(self, depth: int) -> Node:
        self._skip_space()
        if not self._limits.admits(depth) or self._ends():
            return Node(CONSTANT, "…", is_cut=True)
        first = self._text[self._at]
        if first == "{":
            return self._map(depth)
        if first == "[":
            return self._list(depth)
        if first == '"':
            text, is_cut = self._string()
            return Node(TEXT, text, is_cut=is_cut)
        for kind, pattern in ((CONSTANT, _CONSTANT), (NUMBER, _NUMBER)):
            found = pattern.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
                # More digits may follow, or the rest of an exponent.
                if kind == NUMBER and self._is_cut and _REST_OF_NUMBER.fullmatch(self._text, self._at):
                    self._at = len(self._text)
                return Node(kind, found[0], is_cut=kind == NUMBER and self._is_cut and self._ends())
        if self._is_cut and len(self._text) - self._at < len("-Infinity"):
            self._at = len(self._text)
            self._ends()
            return Node(CONSTANT, "…", is_cut=True)
        raise NotJsonError(f"no JSON value at character {self._at}")

    def _map(self, depth: int) -> Node:
        self._at += 1
        children: list[tuple[str, Node]] = []
        while not self._closes("}", has_items=bool(children)):
            if self._text[self._at] != '"':
                raise NotJsonError(f"no key at character {self._at}")
            key, is_key_cut = self._string()
            self._skip_space()
            if is_key_cut or self._ends():
                break
            if self._text[self._at] != ":":
                raise NotJsonError(f"no colon at character {self._at}")
            self._at += 1
            children.append((key, self._value(depth + 1)))
        is_cut = bool(self._limits.cut)
        if children and children[0][0] == _TYPE and children[0][1].kind == TEXT:
            return Node(OBJECT, children[0][1].text, tuple(children[1:]), is_cut)
        return Node(MAP, "", tuple(children), is_cut)

    def _list(self, depth: int) -> Node:
        self._at += 1
        children: list[tuple[str, Node]] = []
        while not self._closes("]", has_items=bool(children)):
            children.append((f"[{len(children)}]", self._value(depth + 1)))
        return Node(LIST, "", tuple(children), bool(self._limits.cut))

    def _closes(self, bracket: str, *, has_items: bool) -> bool:
        """Step over the comma before the next item. Return True if there is none: the container ends or is cut."""
        self._skip_space()
        if self._limits.cut or self._ends():
            return True
        if self._text[self._at] == bracket:
            self._at += 1
            return True
        if not has_items:
            return False
        if self._text[self._at] != ",":
            raise NotJsonError(f"neither a comma nor {bracket} at character {self._at}")
        self._at += 1
        self._skip_space()
        return self._ends()

    def _string(self) -> tuple[str, bool]:
        """Return a text, and whether it is cut."""
        found = _STRING.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            return json.loads(found[0]), False
        found = _CUT_STRING.match(self._text, self._at)
        assert found is not None
        # An escape may be cut as well.
        if not self._is_cut or len(self._text) - found.end() > len("\\u000"):
            raise NotJsonError(f"a text that does not end, at character {self._at}")
        self._at = len(self._text)
        self._ends()
        return json.loads(found[0] + '"'), True

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _ends(self) -> bool:
        """Return whether the text ends here. It must not, unless it is cut."""
        if self._at < len(self._text):
            return False
        if not self._is_cut:
            raise NotJsonError("the text ends inside a value")
        self._limits.cut = self._limits.cut or _END
        return True
