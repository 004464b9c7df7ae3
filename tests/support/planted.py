"""Defects that are planted in the real code: a piece of a function's source is replaced."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A rule that is broken.

    Attributes:
        rule: the rule.
        function: the function that follows it.
        old: a piece of the function's source, which occurs once.
        new: its replacement.

    """

    rule: str
    function: Callable
    old: str
    new: str


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Break a rule in the real code while the block lasts."""
    source = inspect.getsource(mutant.function)
    assert source.count(mutant.old) == 1, f"{mutant.rule}: its place in {mutant.function.__qualname__} is gone"
    broken = source.replace(mutant.old, mutant.new)
    built: dict[str, Callable] = {}
    # The source of a method is indented: it needs a block around it.
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
