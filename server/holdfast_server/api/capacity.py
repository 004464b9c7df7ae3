"""How much may be in flight, and the share of it that streams, pipelines, watches and their owners may take."""

from dataclasses import dataclass

_MAX_PIPELINED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may be in flight.

    Attributes:
        calls: how many calls, including streams.
        bytes: how many bytes of payload they may hold in memory together.
        fair_calls: how many calls may work at once, in turns of their namespaces; 0 if there are no turns.

    """

    calls: int
    bytes: int
    fair_calls: int = 0

    @property
    def streams(self) -> int:
        """How many streams may be open."""
        return max(1, self.calls // 2)

    @property
    def streams_per_owner(self) -> int:
        """How many streams one connection, or one namespace, may have open."""
        return max(1, self.streams // 2)

    @property
    def stream_bytes(self) -> int:
        """How many bytes all streams may hold together."""
        return self.bytes - self.bytes // 4

    @property
    def pipelines(self) -> int:
        """How many pipelines may be open."""
        return 4 * self.calls

    @property
    def pipelines_per_connection(self) -> int:
        """How many pipelines one connection may have open: more than one, so that one can replace another."""
        return max(2, self.calls // 8)

    @property
    def watches(self) -> int:
        """How many watches may be open."""
        return 4 * self.calls

    @property
    def watches_per_connection(self) -> int:
        """How many watches one connection may have open: half of the calls that its transport carries at once."""
        return max(1, self.calls // 4)

    @property
    def watches_per_namespace(self) -> int:
        """How many watches one namespace may have open."""
        return max(1, self.watches // 2)

    @property
    def pipelined_calls(self) -> int:
        """How many calls one pipeline may have in flight, and all pipelines of one connection may run."""
        return max(1, self.calls // 2)

    @property
    def pipelined_bytes(self) -> int:
        """How many bytes one pipeline may have in flight before it stops to start calls."""
        return min(_MAX_PIPELINED_BYTES, self.bytes // 4)
