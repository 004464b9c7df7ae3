"""The scenarios: their actors, and how often what may fail."""

from tests.verification.model.calls import Call
from tests.verification.model.collector import Collector
from tests.verification.model.explore import Scenario
from tests.verification.model.reader import Reader
from tests.verification.model.state import DELETED, FENCE
from tests.verification.model.writer import Writer


def steady(*calls: Call) -> Writer:
    """Return a writer whose requests are all answered."""
    return Writer(calls, losses=0, retries=0)


def fresh(request: str, chosen: str) -> Call:
    """Return a save whose caller promises that its id is new."""
    return Call(request, chosen=chosen, is_fresh=True)


SCENARIOS = [
    Scenario(
        "compare-and-set",
        (
            Writer((Call("a", expected=0), Call("b", expected=1))),
            Writer((Call("c", expected=0), Call("d", expected=1))),
        ),
    ),
    Scenario(
        "compare-and-set beside a collection",
        (
            steady(Call("a"), Call("d")),
            Writer((Call("b", expected=1), Call("c", expected=2)), losses=0),
            Collector(1),
        ),
    ),
    Scenario(
        "compare-and-set beside deletions",
        (
            steady(Call("a"), Call("y", kind=DELETED, target="a"), Call("x", kind=DELETED)),
            Writer((Call("b", expected=1), Call("c", expected=0)), losses=0),
        ),
    ),
    Scenario(
        "compare-and-set with epochs",
        (
            steady(Call("a"), Call("f", kind=FENCE), Call("b", epoch=1, expected=1), Call("c", epoch=1, expected=1)),
            Writer((Call("g", kind=FENCE, expected=1), Call("d", epoch=2, expected=1)), losses=0, retries=0),
        ),
    ),
    Scenario(
        "compare-and-set beside an older server",
        (
            steady(Call("a"), Call("b", is_older=True), Call("y", kind=DELETED, target="a")),
            Writer((Call("c", expected=1), Call("d", expected=2)), losses=0),
        ),
    ),
    Scenario(
        "a writer is fenced",
        (
            Writer((Call("a", epoch=0), Call("b", epoch=0))),
            Writer((Call("f", kind=FENCE), Call("c", epoch=1))),
        ),
    ),
    Scenario(
        "an epoch that was never given",
        (
            Writer((Call("a", epoch=1), Call("b", epoch=2)), retries=0),
            Writer((Call("f", kind=FENCE), Call("c", epoch=1)), retries=0),
        ),
    ),
    Scenario(
        "two collections",
        (steady(Call("a", has_blob=True), Call("b")), Collector(2), Collector(1)),
        ticks=2,
    ),
    Scenario(
        "an unknown outcome beside a collection",
        (Writer((Call("a", has_blob=True),)), steady(Call("b")), Collector(1)),
        ticks=1,
    ),
    Scenario(
        "uploads beside a collection",
        (Writer((Call("a", has_blob=True), Call("b", has_blob=True)), losses=0), Collector(2), Reader(1)),
        ticks=2,
    ),
    Scenario(
        "a stale reader",
        (steady(Call("a"), Call("b"), Call("c")), Collector(2), Reader(2)),
        ticks=2,
    ),
    Scenario(
        "deletions beside a writer that lost its revision",
        (steady(Call("a"), *(Call(each, kind=DELETED) for each in "xyz")), steady(Call("c")), Collector(1)),
        ticks=1,
    ),
    Scenario(
        "deletion beside a stale writer",
        (steady(Call("a"), Call("x", kind=DELETED)), Writer((Call("c"),), retries=0), Collector(2)),
        ticks=2,
    ),
    Scenario("two writers race", (Writer((Call("a"), Call("b"))), Writer((Call("c"), Call("d"))), Reader(1))),
    Scenario(
        "a late retry",
        (Writer((Call("a"),)), steady(Call("b")), Collector(2)),
        ticks=2,
    ),
    Scenario(
        "damage",
        (
            steady(Call("a", has_blob=True), Call("b", has_blob=True), Call("c")),
            Reader(falls_back=True, losses=1),
            Reader(wants="b", falls_back=True),
            Reader(),
        ),
        rots=1,
    ),
    Scenario(
        "fallback beside a collection",
        (
            steady(Call("a", has_blob=True), Call("b"), Call("c")),
            Collector(2, keep=2),
            Reader(falls_back=True),
        ),
        ticks=2,
        rots=1,
    ),
    Scenario(
        "deletions of the newest beside savers and readers",
        (
            steady(Call("a"), Call("b"), Call("x", kind=DELETED, target="b")),
            Writer((Call("y", kind=DELETED, target="a"), Call("c")), losses=1, retries=1),
            Reader(2),
            Reader(wants="b"),
        ),
    ),
    Scenario(
        "a deletion of the newest beside a collection",
        (
            steady(Call("a", has_blob=True), Call("b"), Call("x", kind=DELETED, target="b")),
            Collector(2),
            Reader(),
        ),
        ticks=2,
    ),
    Scenario(
        "a stale deletion",
        (steady(Call("a", has_blob=True), Call("b")), Writer((Call("y", kind=DELETED, target="a"),)), Collector(2)),
        ticks=2,
    ),
    Scenario(
        "a retry after deletions",
        (
            Writer((Call("a"), Call("y", kind=DELETED, target="a"))),
            steady(Call("b"), Call("x", kind=DELETED), Call("c"), Call("d")),
            Reader(),
        ),
    ),
    Scenario(
        "a retry without its attempt number",
        (
            Writer((Call("a", is_silent=True),)),
            steady(Call("b"), Call("x", kind=DELETED), Call("c"), Call("d")),
        ),
    ),
    Scenario(
        "two writers race for an id",
        (
            Writer((Call("a", chosen="X"), Call("b"), Call("c"))),
            Writer((Call("d", chosen="X"),)),
            Reader(chosen="X"),
        ),
    ),
    Scenario(
        "a claim of before the workflow was deleted",
        (
            steady(Call("a"), Call("x", kind=DELETED), Call("b"), Call("c"), Call("d", chosen="Y")),
            Writer((Call("e", chosen="Y"),)),
        ),
    ),
    Scenario(
        "claims that a collection takes over",
        (
            steady(Call("a", chosen="X"), Call("b", chosen="Y"), Call("c"), Call("d"), Call("e", chosen="Y")),
            Collector(2),
            Reader(chosen="Y"),
        ),
        ticks=1,
    ),
    Scenario(
        "a claim of before a collection",
        (
            steady(Call("a", chosen="X"), Call("b"), Call("d", chosen="Y")),
            Writer((Call("e", chosen="Y"),), retries=0),
            Collector(1),
        ),
        ticks=1,
    ),
    Scenario(
        "pinned checkpoints beside a collection",
        (
            steady(Call("a", has_blob=True, pinned=True), Call("b"), Call("c"), Call("d", pinned=True)),
            steady(Call("x", kind=DELETED, target="a")),
            Collector(2),
            Reader(wants="a"),
        ),
        ticks=1,
    ),
    Scenario(
        "a purge beside readers and its saver",
        (
            Writer((Call("a", has_blob=True),), losses=1, retries=1),
            Writer((Call("x", kind=DELETED, target="a", purges=True),), losses=1, retries=1),
            Reader(),
            Reader(wants="a"),
        ),
    ),
    Scenario(
        "a purge beside a stale writer",
        (
            steady(Call("a"), Call("b", has_blob=True), Call("c")),
            Writer((Call("x", kind=DELETED, target="b", purges=True),), losses=1, retries=0),
            Writer((Call("d"),), losses=0, retries=0),
        ),
        ticks=1,
    ),
    Scenario(
        "a purge beside an upload",
        (
            steady(Call("a", has_blob=True)),
            Writer((Call("x", kind=DELETED, target="a", purges=True),), losses=1, retries=1),
            Writer((Call("d", has_blob=True),), losses=0, retries=1),
        ),
    ),
    Scenario(
        "a purge beside a collection",
        (
            steady(Call("a", has_blob=True), Call("b")),
            Writer((Call("x", kind=DELETED, target="a", purges=True),), losses=1, retries=0),
            Collector(2),
        ),
        ticks=2,
    ),
    Scenario(
        "forged markers beside writers and readers",
        (
            Writer((Call("a"), Call("b", has_blob=True))),
            Reader(2, falls_back=True),
            Reader(wants="a"),
        ),
        forgeries=1,
    ),
    Scenario(
        "forged markers beside a fence",
        (
            Writer((Call("a", epoch=0), Call("b", epoch=0)), retries=0),
            steady(Call("f", kind=FENCE), Call("c", epoch=1)),
        ),
        forgeries=1,
    ),
    Scenario(
        "forged markers beside a collection",
        (
            steady(Call("a", has_blob=True), Call("b"), Call("x", kind=DELETED, target="a")),
            Collector(1),
            Reader(falls_back=True),
        ),
        ticks=2,
        forgeries=1,
    ),
    Scenario(
        "bases beside a collection",
        (
            steady(Call("a", has_blob=True), Call("b", has_bases=True), Call("c", has_bases=True)),
            Collector(2),
            Reader(),
        ),
        ticks=2,
    ),
    Scenario(
        "bases in markers beside a collection",
        (
            steady(Call("a"), Call("b", has_bases=True), Call("c", has_bases=True), Call("d", has_bases=True)),
            Collector(2),
        ),
        ticks=2,
    ),
    Scenario(
        "bases beside deletions",
        (
            steady(Call("a"), Call("b", has_bases=True), Call("x", kind=DELETED, target="b")),
            Writer((Call("c", has_bases=True), Call("d", has_bases=True)), losses=0, retries=0),
            steady(Call("z", kind=DELETED), Call("e", has_bases=True)),
        ),
    ),
    Scenario(
        "a stale save on bases beside a collection",
        (
            steady(Call("a", has_blob=True), Call("b"), Call("y", kind=DELETED, target="a")),
            Writer((Call("d", has_bases=True),), losses=0, retries=0),
            Collector(1),
        ),
        ticks=2,
    ),
    Scenario(
        "a purge of a base beside savers and readers",
        (
            steady(Call("a", has_blob=True), Call("b", has_bases=True), Call("c", has_bases=True)),
            Writer((Call("x", kind=DELETED, target="a", purges=True),), losses=0, retries=0),
            Writer((Call("d", has_bases=True),), losses=0, retries=0),
            Reader(),
        ),
    ),
    Scenario(
        "a purge of a base beside a collection",
        (
            steady(
                Call("a", has_blob=True),
                Call("b", has_blob=True, has_bases=True),
                Call("c", has_bases=True),
                Call("y", kind=DELETED, target="b"),
                Call("x", kind=DELETED, target="a", purges=True),
            ),
            steady(Call("d", has_bases=True)),
            Collector(1, keep=3),
        ),
        ticks=1,
    ),
    Scenario(
        "a purge beside a base that was collected",
        (
            steady(
                Call("a", has_blob=True),
                Call("b", has_bases=True),
                Call("c"),
                Call("x", kind=DELETED, target="c", purges=True),
            ),
            Collector(2, keep=2),
        ),
        ticks=2,
    ),
    Scenario(
        "damage of a base",
        (
            steady(Call("a", has_blob=True), Call("b", has_bases=True), Call("c", has_bases=True), Call("d")),
            Reader(falls_back=True),
            Reader(wants="c", falls_back=True),
        ),
        rots=1,
    ),
    Scenario(
        "new ids and a reader",
        (
            Writer((fresh("a", "X"), Call("b"), Call("c"), fresh("d", "Y")), losses=0, retries=0),
            steady(Call("e")),
            Reader(chosen="X"),
        ),
    ),
    Scenario(
        "two writers with new ids",
        (
            Writer((fresh("a", "X"), Call("b")), losses=0, retries=0),
            Writer((fresh("d", "Y"), Call("e")), retries=0),
            Reader(chosen="Y"),
        ),
    ),
    Scenario(
        "a retry with a new id",
        (
            Writer((fresh("a", "X"),), losses=1, retries=1),
            steady(Call("b"), Call("c")),
            Reader(chosen="X"),
        ),
    ),
    Scenario(
        "a claimed id after a new one of its name",
        (
            steady(fresh("a", "X"), Call("b"), Call("c"), Call("d", chosen="X")),
            Writer((Call("e", chosen="X"),), losses=0, retries=0),
        ),
    ),
    Scenario(
        "a promise that is broken",
        (
            steady(fresh("a", "X"), Call("b"), Call("c"), fresh("d", "X"), Call("e")),
            Writer((fresh("f", "X"),), losses=0, retries=1),
        ),
    ),
    Scenario(
        "two checkpoints with one id",
        (
            steady(
                fresh("a", "X"), Call("b"), Call("c"), fresh("d", "X"), Call("e"), Call("y", kind=DELETED, target="d")
            ),
            Reader(chosen="X"),
        ),
    ),
    Scenario(
        "new ids beside a deletion and a collection",
        (
            steady(fresh("a", "X"), Call("x", kind=DELETED), fresh("d", "X"), Call("e"), Call("g")),
            Collector(1, keep=3),
            Reader(chosen="X"),
        ),
        ticks=1,
    ),
    Scenario(
        "new ids where a marker rots",
        (
            steady(fresh("a", "X"), Call("b"), fresh("c", "Y"), Call("d")),
            Reader(chosen="X", falls_back=True),
        ),
        rots=1,
    ),
    Scenario("a retry where a marker rots", (Writer((Call("a"),)), steady(Call("b"), Call("c"))), rots=1),
    Scenario(
        "requests with the same digest where a marker rots",
        (Writer((Call("a", collides=True),)), Writer((Call("b", collides=True),), retries=0)),
        rots=1,
    ),
    Scenario(
        "a search for an id where a marker rots",
        (
            Writer((Call("a", chosen="X"),), retries=0),
            steady(Call("b"), Call("c"), Call("d", chosen="X")),
            Reader(chosen="X", falls_back=True),
        ),
        rots=1,
    ),
]

# These take half an hour: they need the largest budget.
LARGER = [
    Scenario(
        "uploads beside two collections",
        (
            Writer((Call("a", has_blob=True), Call("b", has_blob=True))),
            steady(Call("c", has_blob=True)),
            Collector(2),
        ),
        ticks=2,
    ),
    Scenario(
        "fence, delete and collection",
        (
            Writer((Call("a", epoch=0), Call("b", epoch=0, has_blob=True)), retries=0),
            steady(Call("f", kind=FENCE), Call("x", kind=DELETED), Call("c", epoch=1)),
            Collector(2),
        ),
        ticks=2,
    ),
    Scenario(
        "an id, its deletion and collections",
        (
            Writer((Call("a", chosen="X"), Call("x", kind=DELETED, target="a"))),
            steady(Call("b"), Call("d", chosen="X")),
            Collector(2),
        ),
        ticks=2,
    ),
]
