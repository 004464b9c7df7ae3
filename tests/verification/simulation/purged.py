"""Purges: purged content is in no object when the purge is acknowledged, and never comes back."""

from collections.abc import Iterable

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.linearizability import Operation
from tests.verification.simulation.resting import contents
from tests.verification.simulation.server import KEYS
from tests.verification.simulation.store import Network


def secret(name: str) -> str:
    """Return the bytes of a save, which are found in any object that contains them."""
    return f"<{name}>"


def audit(network: Network, history: list[Operation], purge: Operation) -> str:
    """Return the content that a purge should have removed by its answer."""
    # A blob may come back if the HTTP client sent the upload twice. No marker names it, and it is collected.
    comes_late = any(" PUT blob" in each for each in network.struck)
    places = (KEYS.log,) if comes_late else (KEYS.log, KEYS.blobs)
    return _left(network, _purged(history, purge), places, f"{purge} is answered")


def garbage(network: Network, history: list[Operation]) -> str:
    """Return the purged content that is in the store at the end."""
    done = [each for each in history if each.purges and each.error is None and each.ended < spec.inf]
    values = {value for each in done for value in _purged(history, each)}
    return _left(network, values, (KEYS.log, KEYS.blobs), "all is over")


def _purged(history: list[Operation], purge: Operation) -> set[str]:
    """Return the content that was certainly there to purge: its save was answered before."""
    saves = [each for each in history if each.kind == spec.SAVE and each.error is None and each.ended < purge.began]
    if purge.kind == spec.DELETE_ALL:
        return {each.value for each in saves}
    ids = (purge.checkpoint_id,)
    return {each.value for each in saves if each.checkpoint_id in ids or each.answer in ids}


def _left(network: Network, values: set[str], places: Iterable[str], when: str) -> str:
    for key, (data, _) in network.objects.by_key.items():
        if key.startswith(tuple(places)):
            text = contents(data, key)
            for value in values:
                if value.encode() in text:
                    return f"{value} was purged and lies at {key} when {when}"
    return ""
