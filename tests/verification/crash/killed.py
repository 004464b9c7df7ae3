"""A command within which a server is killed at a moment of its index of ids. Run as a module.

Its arguments are the moment and the server's own command, whose program runs in this process.
"""

import os
import signal
import sys
from typing import Any

from holdfast_server.main import main
from holdfast_server.protocol.log import fresh_ids
from holdfast_server.protocol.log.indexed import Indexed

# After the commit that fills a block, before the object that indexes it is written; and after that, before a marker
# says so.
BEFORE, AFTER = MOMENTS = ("before", "after")


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _die_soon(*_: Any) -> None:
    _die()


if __name__ == "__main__":
    if sys.argv[1] == BEFORE:
        fresh_ids._write = _die_soon
    else:
        Indexed.reach = _die  # type: ignore[method-assign]
    # The interpreter, "-m" and the program's name.
    del sys.argv[1:5]
    main()
