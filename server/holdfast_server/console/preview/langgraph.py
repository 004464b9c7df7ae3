"""The msgpack extension types of LangGraph's serializer, as trees. No class is looked up, and nothing is called.

Each type holds msgpack: usually a list of a module, a class and what the instance is made of. Types 0 to 5 and 7 are
LangGraph's `EXT_CONSTRUCTOR_SINGLE_ARG`, `…_POS_ARGS`, `…_KW_ARGS`, `EXT_METHOD_SINGLE_ARG`, `EXT_PYDANTIC_V1`,
`EXT_PYDANTIC_V2` and `EXT_DELTA_SNAPSHOT`; 6 is `EXT_NUMPY_ARRAY`, a list of element type, shape, order and bytes.
"""

from holdfast_server.console.preview.msgpack import Reader
from holdfast_server.console.preview.tree import LIST, MAP, OBJECT, TEXT, Node

_NUMPY_ARRAY, _DELTA_SNAPSHOT = 6, 7
_LAST = 7
_NUMPY_FIELDS = ("dtype", "shape", "order", "data")
# Module, class and content.
_FIELDS = 3


def extensions(code: int, inside: Reader, depth: int) -> Node | None:
    """Return the tree of an extension type of LangGraph; None if it is not one."""
    if not 0 <= code <= _LAST:
        return None
    content = inside.value(depth)
    if code == _DELTA_SNAPSHOT:
        return Node(OBJECT, "delta snapshot", (("value", content),), inside.is_cut)
    if content.kind != LIST:
        return None
    values = [value for _, value in content.children]
    if code == _NUMPY_ARRAY:
        fields = tuple(zip(_NUMPY_FIELDS, values, strict=False))
        return Node(OBJECT, "numpy.ndarray", fields, content.is_cut)
    if len(values) < _FIELDS or values[0].kind != TEXT or values[1].kind != TEXT:
        return None
    name, given = f"{values[0].text}.{values[1].text}", values[2]
    children = given.children if given.kind in (MAP, LIST) else (("value", given),)
    return Node(OBJECT, name, children, given.is_cut)
