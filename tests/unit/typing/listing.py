"""List the public API of the client: each public name with its bases, fields, methods and signatures.

Usage, after a deliberate change of the API: python -m tests.unit.typing.listing > tests/unit/typing/public_api.txt
"""

import ast
import inspect
import sys
import textwrap

import holdfast


def listing() -> str:
    """Return the listing, one line for each class, field and method."""
    classes = {name: getattr(holdfast, name) for name in holdfast.__all__}
    return "\n".join(line for name in sorted(classes) for line in _lines(name, classes[name])) + "\n"


def _lines(name: str, kind: type) -> list[str]:
    tree = _tree(kind)
    hidden = [base for base in kind.__mro__[1:] if _is_hidden(base)]
    bases = ", ".join(map(ast.unparse, tree.bases)) if not hidden else ""
    lines = [f"{name}({bases})" if bases else name]
    seen = set()
    for node in (node for part in (tree, *map(_tree, hidden)) for node in part.body):
        if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
            lines.append(f"    {ast.unparse(node)}")
        elif (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(node.name) and node.name not in seen
        ):
            seen.add(node.name)
            lines.append(f"    {_signature(node)}")
    return lines


def _tree(kind: type) -> ast.ClassDef:
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    return tree


def _is_hidden(base: type) -> bool:
    """Return whether a base is not public itself, so that what it has counts as its subclass's own."""
    return ".surface." in base.__module__


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__enter__", "__exit__", "__aenter__", "__aexit__")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    decorators = "".join(f"@{ast.unparse(decorator)} " for decorator in node.decorator_list)
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{decorators}{kind} {node.name}({ast.unparse(node.args)}){returns}"


if __name__ == "__main__":
    sys.stdout.write(listing())
