"""Broken rules, planted in the real code: a piece of a function's source, and what takes its place."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A rule that is broken.

    Attributes:
        rule: the rule.
        function: the one that holds it.
        old: a piece of its source.
        new: what takes its place.

    """

    rule: str
    function: Callable
    old: str
    new: str


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The real code with a broken rule, while the block lasts."""
    source = inspect.getsource(mutant.function)
    assert source.count(mutant.old) == 1, f"{mutant.rule}: its place in {mutant.function.__qualname__} is gone"
    broken = source.replace(mutant.old, mutant.new)
    built: dict[str, Callable] = {}
    # A method's source is indented, which needs something to belong to.
    exec(
        compile(f"if True:\n{broken}" if source[0] == " " else broken, "mutant", "exec"),
        mutant.function.__globals__,
        built,
    )
    code, kept = built[mutant.function.__name__].__code__, mutant.function.__code__
    mutant.function.__code__ = code
    try:
        yield
    finally:
        mutant.function.__code__ = kept
