"""How a client spreads its calls over the addresses of its target: by the policies of gRPC with the same names."""

import json
from typing import Any, Literal, get_args

from holdfast._core import arguments

LoadBalancing = Literal["pick_first", "round_robin"]


def checked(value: object) -> LoadBalancing:
    """Return a policy if it is a valid one.

    Raises:
        TypeError: it is not a str.
        InvalidRequestError: there is no such policy.

    """
    text = arguments.text("load_balancing", value)
    for valid in get_args(LoadBalancing):
        if text == valid:
            found: LoadBalancing = valid
            return found
    raise arguments.invalid("load_balancing", f"must be one of {', '.join(get_args(LoadBalancing))}, not {text!r:.100}")


def channel_options(policy: LoadBalancing) -> list[tuple[str, Any]]:
    """Return the options of a channel that follows a policy, which is "pick_first" without any."""
    return (
        [] if policy == "pick_first" else [("grpc.service_config", json.dumps({"loadBalancingConfig": [{policy: {}}]}))]
    )


def takes_pipelines(policy: LoadBalancing) -> bool:
    """Return whether small calls go through pipelines. All calls of one go to one server, which spreads nothing."""
    return policy == "pick_first"
