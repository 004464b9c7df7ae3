"""What an embedded save has learned from its events, for the clients of both kinds."""

from typing import Any

from holdfast._embedded.calls import ERROR, METADATA, RESULT, ROOM, TAKEN, Metadata


class AnsweredError(Exception):
    """The service has answered."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer


class SaveEvents:
    """The events of a save so far.

    Attributes:
        room: how many messages may be sent now.
        initial: the service's initial metadata; None until it has come.

    """

    def __init__(self) -> None:
        self.room = ROOM
        self.initial: Metadata | None = None

    def take(self, kind: str, value: Any) -> None:
        """Take an event.

        Raises:
            AnsweredError: it is the answer.
            CallFailedError: the call failed.

        """
        if kind == RESULT:
            raise AnsweredError(value)
        if kind == ERROR:
            raise value
        if kind == METADATA:
            self.initial = value
        elif kind == TAKEN:
            self.room += 1
