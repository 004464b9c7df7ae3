"""Visit every state that a scenario can reach, breadth first, so that a counterexample is the shortest one.

Of each visited state only a 64-bit hash and the hash of its predecessor are kept. Two states with the same hash count
as one: among ten million states the chance of that is about 3 in a million, and each run has different hashes.
"""

import gc
from collections.abc import Iterator
from typing import NamedTuple

from tests.verification.model.state import State, ViolationError, forged, landed, rotted


class Scenario(NamedTuple):
    name: str
    actors: tuple
    ticks: int = 0  # how many graces can pass
    rots: int = 0  # how many objects can rot
    forgeries: int = 0  # how many markers can be forged


class Result(NamedTuple):
    states: int
    violation: str = ""
    trace: tuple = ()


def explore(scenario: Scenario, rules: frozenset = frozenset(), *, most: int = 10**8) -> Result:
    """Visit every state, or return the shortest way to one that breaks a promise.

    Args:
        scenario: the actors, and the bounds.
        rules: the rules to break.
        most: how many states to visit; a scenario with more raises a RuntimeError.

    """
    # States never form a cycle, and the collector of Python would visit all of them again and again.
    gc.disable()
    try:
        return _explored(scenario, rules, most)
    finally:
        gc.enable()


def _explored(scenario: Scenario, rules: frozenset, most: int) -> Result:
    start = State(scenario.ticks, scenario.rots, scenario.actors, forgeries=scenario.forgeries)
    came_from = {hash(start): 0}
    frontier = [start]
    while frontier:
        reached = []
        for state in frontier:
            here = hash(state)
            try:
                for _, following in _successors(state, rules):
                    there = hash(following)
                    if there not in came_from:
                        came_from[there] = here
                        reached.append(following)
            except ViolationError as violation:
                return Result(len(came_from), str(violation), _trace(start, came_from, here, rules))
        frontier = reached
        if len(came_from) > most:
            raise RuntimeError(f"{scenario.name}: more than {most} states")
    return Result(len(came_from))


def _successors(state: State, rules: frozenset) -> Iterator[tuple[str, State]]:
    actors = state.actors
    for number, actor in enumerate(actors):
        for label, moved, following in actor.steps(state, rules):
            others = (*actors[:number], moved, *actors[number + 1 :])
            # Much faster than `_replace`.
            yield (
                f"{type(actor).__name__} {number} {label}",
                State(following.until, following.rots, others, *following[3:]),
            )
    yield from landed(state, rules)
    if state.rots:
        yield from rotted(state)
    if state.forgeries:
        yield from forged(state)
    if state.time < state.until:
        yield "a grace passes", state._replace(time=state.time + 1, actors=tuple(each.later() for each in actors))


def _trace(start: State, came_from: dict[int, int], last: int, rules: frozenset) -> tuple[str, ...]:
    """Return the steps to a state, by repeating the way along its hashes."""
    hashes = [last]
    while hashes[-1] != hash(start):
        hashes.append(came_from[hashes[-1]])
    labels, state = [], start
    for there in reversed(hashes[:-1]):
        label, state = next(each for each in _successors(state, rules) if hash(each[1]) == there)
        labels.append(label)
    return tuple(labels)
