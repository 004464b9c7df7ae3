# Generated from holdfast/_async/watch_connections.py by tools/async_to_sync.py; do not edit.
"""The connections that the watches of a client use.

A connection carries a bounded number of calls at once, of which watches may take half. So a client with many watches
has further connections, each for some of them. They stay open as long as the client.
"""

from collections.abc import Callable
from typing import Any

from holdfast._core.errors import closed

# A server with the default settings takes twice as many.
_MOST_WATCHES = 32


class Place:
    """The place of one watch on a connection.

    Args:
        connection: the connection.
        taken: the places of the connection that are taken.

    Attributes:
        stub: the methods of the service.

    """

    def __init__(self, connection: Any, taken: "set[Place]") -> None:
        self.stub: Any = connection.stub
        self._taken = taken
        taken.add(self)

    def give_back(self) -> None:
        """Leave the place to another watch."""
        self._taken.discard(self)


class WatchConnections:
    """The connections for the watches of one client.

    There is no lock, which a fork could leave locked: two watches that begin at once may both get the last place of a
    connection, or open one each.

    Args:
        own: the connection for all other calls, which the first watches use.
        connect: returns another connection, which opens with its first call.

    """

    def __init__(self, own: Any, connect: Callable[[], Any]) -> None:
        self._connect = connect
        # Each connection with its places that are taken.
        self._connections: list[tuple[Any, set[Place]]] = [(own, set())]
        self._is_closed = False

    def take(self) -> Place:
        """Return a place for a watch, to be given back.

        Raises:
            ClientClosedError: the client was closed.

        """
        for connection, taken in self._connections:
            if len(taken) < _MOST_WATCHES:
                return Place(connection, taken)
        connection = self._connect()
        taken = set()
        self._connections.append((connection, taken))
        if self._is_closed:
            raise closed()
        return Place(connection, taken)

    def close(self) -> None:
        """Close all connections but the client's own."""
        self._is_closed = True
        for connection, _ in self._connections[1:]:
            connection.close()
