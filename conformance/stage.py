"""The stage of a case: it is set up before its steps, and taken down after them."""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from conformance.cases import Case
from conformance.driver import Driver
from conformance.places import Places
from conformance.proxy import Proxy
from conformance.scene import Scene
from conformance.scripted.script import Script
from tests.support.ports import free_port

_numbers = itertools.count(1)


@asynccontextmanager
async def staged(case: Case, driver: Driver, places: Places, *, has_faults: bool = True) -> AsyncIterator[Scene]:
    """Set up what a case needs, with a namespace of its own, and open its client.

    Args:
        case: the case.
        driver: the driver.
        places: the servers.
        has_faults: whether the scripted server misbehaves, the proxy does harm and stored bytes are damaged.

    """
    names: dict[str, Any] = {"namespace": f"kit-{next(_numbers)}", "workflow_id": case.name.replace("/", ".")}
    names["folder"] = str(places.new_folder())
    async with AsyncExitStack() as stack:
        known: dict[str, Any] = {}
        folder: Path | None = None
        match case.place:
            case "server":
                target, folder = await places.shared()
            case "own":
                known["servers"] = [await stack.enter_async_context(places.server(*case.flags))]
            case "two":
                store = places.new_folder()
                known["servers"] = [
                    await stack.enter_async_context(places.server(*case.flags, folder=store)) for _ in range(2)
                ]
            case "secure":
                target, secrets = await places.secure()
                names |= secrets
            case "mutual":
                target, secrets = await places.mutual()
                names |= secrets
            case "scripted":
                script = Script(case.script, case.stored or [["", {"text": "stored"}]], has_faults=has_faults)
                known["script"] = stack.enter_context(places.scripted.playing(names["namespace"], script))
                target = places.scripted.target
            case _:
                target = f"127.0.0.1:{free_port()}"
        if "servers" in known:
            target, folder = known["servers"][0].target, known["servers"][0].folder
        names["targets"] = [server.target for server in known.get("servers", [])] or [target]
        names["nothing"] = f"127.0.0.1:{free_port()}"
        names["server"] = target
        if case.proxy:
            known["proxy"] = await stack.enter_async_context(Proxy(target, does_harm=has_faults).running())
            names["targets"] = [f"127.0.0.1:{known['proxy'].port}"]
        scene = Scene(case, driver, names, target=target, folder=folder, has_faults=has_faults, **known)
        try:
            if case.open is not None:
                await scene.open()
            yield scene
        finally:
            await scene.close()
