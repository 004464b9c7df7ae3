"""Purges: what was purged lies nowhere when that is answered, and never comes back."""

from collections.abc import Iterable

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.linearizability import Operation
from tests.verification.simulation.server import KEYS
from tests.verification.simulation.store import Network


def secret(name: str) -> str:
    """What a save saves: found among the bytes of any object."""
    return f"<{name}>"


def audit(network: Network, history: list[Operation], purge: Operation) -> str:
    """Tells what lies there yet of what a purge that is answered just now was to remove."""
    # A blob may come back: the upload may have been sent twice underneath. Nobody names it, and it is collected.
    comes_late = any(" PUT blob" in each for each in network.struck)
    places = (KEYS.log,) if comes_late else (KEYS.log, KEYS.blobs)
    return _left(network, _purged(history, purge), places, f"{purge} is answered")


def garbage(network: Network, history: list[Operation]) -> str:
    """Tells what lies there in the end of all that was purged."""
    done = [each for each in history if each.purges and each.error is None and each.ended < spec.inf]
    values = {value for each in done for value in _purged(history, each)}
    return _left(network, values, (KEYS.log, KEYS.blobs), "all is over")


def _purged(history: list[Operation], purge: Operation) -> set[str]:
    """What was surely there to purge: values whose save was answered before."""
    saves = [each for each in history if each.kind == spec.SAVE and each.error is None and each.ended < purge.began]
    if purge.kind == spec.DELETE_ALL:
        return {each.value for each in saves}
    ids = (purge.checkpoint_id,)
    return {each.value for each in saves if each.checkpoint_id in ids or each.answer in ids}


def _left(network: Network, values: set[str], places: Iterable[str], when: str) -> str:
    for key, (data, _) in network.objects.by_key.items():
        if key.startswith(tuple(places)):
            for value in values:
                if value.encode() in data:
                    return f"{value} was purged and lies at {key} when {when}"
    return ""
