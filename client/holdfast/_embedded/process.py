"""The loop thread that all embedded clients of this process share: its start, its end, and forks.

The thread starts with the first call. It ends with the process, after the functions that the program registered with
`atexit`, and closes the folders that are still open. A forked process has nothing of its parent's: it starts a thread
of its own and opens its folders itself.
"""

import asyncio
import atexit
import ctypes
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from holdfast._core.errors import closed
from holdfast._embedded.folders import Folders
from holdfast._embedded.mailbox import Mailbox, Mailboxes
from holdfast._embedded.sessions import Session
from holdfast._embedded.threads import DaemonThreads

_THREADS = 32
# How long the end of the process waits for calls and folders.
_END_SECONDS = 5.0


class Process:
    """The embedded clients of one process. Made by `current`."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _current: ClassVar["Process | None"] = None
    # Entered while the process forks.
    _pause: ClassVar[ExitStack] = ExitStack()

    def __init__(self) -> None:
        self.folders = Folders()
        self.mailboxes = Mailboxes()
        self.has_ended = False
        self._loop = asyncio.SelectorEventLoop()
        self._threads = DaemonThreads(_THREADS, "holdfast-embedded")
        self._loop.set_default_executor(self._threads)
        self._mailbox = Mailbox(self._loop)
        self._kept: set[asyncio.Task[None]] = set()
        # Those that have made a call, in use by the loop only.
        self.sessions: set[Session] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="holdfast-embedded", daemon=True)
        self._thread.start()

    @classmethod
    def current(cls) -> "Process":
        """Return this process's own. Start it if there is none.

        Raises:
            ClientClosedError: the process is ending.

        """
        found = cls._current
        if found is None:
            with cls._lock:
                if cls._current is None:
                    cls._current = Process()
                found = cls._current
        if found.has_ended:
            raise closed("the process is ending")
        return found

    @property
    def is_usable(self) -> bool:
        """Whether this is not a parent of the process, and the process is not ending."""
        return self is Process._current and not self.has_ended

    def post(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run a callback on the loop, from any thread.

        Raises:
            ClientClosedError: the process is ending.

        """
        try:
            self._mailbox.post(callback, *arguments)
        except RuntimeError:
            raise closed("the process is ending") from None

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work on the loop that the end of the process waits for. Called on the loop."""
        task = self._loop.create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    @classmethod
    def end_current(cls) -> None:
        """Close all sessions, and with them the folders, because the process ends."""
        if cls._current is not None:
            cls._current.end()

    def end(self) -> None:
        """Close all sessions and end the thread. Later calls of clients are refused."""
        self.has_ended = True
        ended = threading.Event()
        self.post(self._begin_end, ended.set)
        ended.wait(_END_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _begin_end(self, ended: Callable[[], None]) -> None:
        for session in list(self.sessions):
            session.begin_close(lambda: None)
        closing = list(self._kept)
        self.keep(self._end(closing, ended))

    @staticmethod
    async def _end(closing: list[asyncio.Task[None]], ended: Callable[[], None]) -> None:
        if closing:
            await asyncio.wait(closing)
        ended()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the loop, let every thread of it finish what it does, and suspend the stores, while the block runs.

        A thread that holds a lock of a C library when the process forks would hold it in the child for ever.
        """
        is_paused, goes_on = threading.Event(), threading.Event()

        def pause() -> None:
            is_paused.set()
            goes_on.wait()

        self.post(pause)
        try:
            is_paused.wait(_END_SECONDS)
            with self._threads.paused(), self.folders.suspended():
                yield
        finally:
            goes_on.set()

    @classmethod
    def before_fork(cls) -> None:
        """Pause, and let no other thread start the embedded clients of this process."""
        cls._lock.acquire()
        if cls._current is not None and not cls._current.has_ended:
            cls._pause.enter_context(cls._current.paused())

    @classmethod
    def after_fork_in_parent(cls) -> None:
        """Go on."""
        cls._pause.close()
        cls._lock.release()

    @classmethod
    def after_fork_in_child(cls) -> None:
        """Forget the parent's loop and folders, and keep them referenced.

        An event loop shares its selector with the parent, and must not be closed here.
        """
        cls._lock = threading.Lock()
        cls._pause = ExitStack()
        if cls._current is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(cls._current))
        cls._current = None


atexit.register(Process.end_current)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=Process.before_fork,
        after_in_parent=Process.after_fork_in_parent,
        after_in_child=Process.after_fork_in_child,
    )
