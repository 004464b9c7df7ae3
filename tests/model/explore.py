"""Visits every state that a scenario can reach, breadth first, so that a counterexample is as short as can be."""

from collections import deque
from typing import NamedTuple

from tests.model.protocol import State, ViolationError, check, land


class Scenario(NamedTuple):
    name: str
    actors: tuple
    ticks: int = 0


class Result(NamedTuple):
    states: int
    violation: str = ""
    trace: tuple = ()


def explore(scenario: Scenario, rules: frozenset = frozenset(), *, most: int = 10_000_000) -> Result:
    """Every state, or the shortest way to one that breaks a promise.

    Args:
        scenario: who acts, and how many graces may pass.
        rules: the rules that are broken on purpose.
        most: how many states to visit at most; beyond them the scenario is too large for its bounds.

    """
    start = State(0, (), frozenset(), frozenset(), (), frozenset(), frozenset(), scenario.actors)
    came_from = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        try:
            for label, following in _successors(state, scenario, rules):
                if following not in came_from:
                    came_from[following] = (state, label)
                    check(following)
                    queue.append(following)
        except ViolationError as violation:
            return Result(len(came_from), str(violation), _trace(came_from, state))
        if len(came_from) > most:
            raise RuntimeError(f"{scenario.name}: more than {most} states")
    return Result(len(came_from))


def _successors(state, scenario, rules):
    for number, actor in enumerate(state.actors):
        for label, moved, following in actor.steps(state, rules):
            actors = (*state.actors[:number], moved, *state.actors[number + 1 :])
            yield f"{type(actor).__name__} {number} {label}", following._replace(actors=actors)
    for put in state.flight:
        landed = land(state, *put, rules)
        yield "a late request lands", (landed or state)._replace(flight=state.flight - {put})
    if state.time < scenario.ticks:
        yield "a grace passes", state._replace(time=state.time + 1)


def _trace(came_from, state):
    steps = []
    while came_from[state] is not None:
        state, label = came_from[state]
        steps.append(label)
    return tuple(reversed(steps))
