"""The commands and the code that resume a workflow, quoted so that any id can be copied to a shell or a program."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from holdfast import AcceptedFormat

# In place of a target that is not known.
_PLACEHOLDER = "HOST:PORT"
# More migrations than a page shows.
_MAX_STEPS = 5
_LANGGRAPH_FORMAT = "langgraph-checkpoint"
# In a workflow id of LangGraph: between thread and checkpoint namespace, and before a digest in place of a name.
_SEPARATOR, _DIGEST = "#", "%!"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A command or a program to copy.

    Attributes:
        title: what it does.
        language: "sh" or "python".
        text: the lines.

    """

    title: str
    language: str
    text: str


def recipes(
    target: str,
    namespace: str,
    workflow_id: str,
    accepted: AcceptedFormat | None,
    *,
    last_good_id: str = "",
    fallback: bool = False,
) -> Sequence[Recipe]:
    """Return what to type to resume a workflow.

    Args:
        target: the server; "" to leave it to the environment of the command, and to a placeholder in code.
        namespace: the namespace.
        workflow_id: the workflow.
        accepted: the format that the engine works with, and the oldest version that it migrates; None for any.
        last_good_id: the checkpoint to load if the newest one cannot be; "" for none.
        fallback: whether to fall back to an older checkpoint.

    """
    found = []
    if accepted is not None:
        found.append(
            Recipe("Check whether a resume would succeed", "sh", _check(target, namespace, workflow_id, accepted))
        )
    found.append(
        Recipe("Load it into a file", "sh", _load(target, namespace, workflow_id, accepted, fallback=fallback))
    )
    if last_good_id:
        text = _load(target, namespace, workflow_id, None, checkpoint_id=last_good_id)
        found.append(Recipe("Load the last good checkpoint into a file", "sh", text))
    code = _python(target, namespace, workflow_id, accepted, fallback=fallback)
    found.append(Recipe("Resume it in Python", "python", code))
    if accepted is not None and accepted.name == _LANGGRAPH_FORMAT and _DIGEST not in workflow_id:
        found.append(Recipe("Continue it in LangGraph", "python", _langgraph(target, namespace, workflow_id)))
    return found


def _check(target: str, namespace: str, workflow_id: str, accepted: AcceptedFormat) -> str:
    options = [f"--format={accepted.name}:{accepted.max_version}"]
    if accepted.min_version != accepted.max_version:
        options.append(f"--oldest={accepted.min_version}")
    return _command(target, "resume-check", options, namespace, workflow_id)


def _load(
    target: str,
    namespace: str,
    workflow_id: str,
    accepted: AcceptedFormat | None,
    *,
    checkpoint_id: str = "",
    fallback: bool = False,
) -> str:
    options = ["--output=state.bin"]
    if accepted is not None:
        options.append(f"--accept={accepted.name}:{accepted.min_version}-{accepted.max_version}")
    if fallback:
        options.append("--fallback")
    names = [namespace, workflow_id, *([checkpoint_id] if checkpoint_id else [])]
    return _command(target, "load", options, *names)


def _command(target: str, name: str, options: Sequence[str], *names: str) -> str:
    given = [f"--target={target}"] if target else []
    # After the dashes, a name that begins with one is not an option.
    return shlex.join(["holdfast", name, *given, *options, "--", *names])


def _python(target: str, namespace: str, workflow_id: str, accepted: AcceptedFormat | None, *, fallback: bool) -> str:
    lines = ["import holdfast", "", f"with holdfast.Client({target or _PLACEHOLDER!r}) as client:"]
    if accepted is None:
        lines.append("    loaded = client.load(")
    else:
        steps = range(accepted.min_version, accepted.max_version)
        lines[1:1] = _migrations(accepted.name, steps)
        lines.append("    loaded = client.resume(")
    lines += [f"        {namespace!r},", f"        {workflow_id!r},"]
    if accepted is not None:
        lines.append(f"        format=holdfast.Format({accepted.name!r}, {accepted.max_version}),")
        lines += ["        migrations=migrations,"] if steps else []
    lines += ["        fallback=True,"] if fallback else []
    shown = "loaded.checkpoint_id, loaded.revision, loaded.format, list(loaded.parts)"
    return "\n".join([*lines, "    )", f"    print({shown})", ""])


def _migrations(name: str, steps: range) -> Sequence[str]:
    if not steps:
        return []
    lines = ["", "migrations = holdfast.Migrations()", ""]
    for version in steps[:_MAX_STEPS]:
        lines += [
            "",
            f"@migrations.register({name!r}, from_version={version})",
            f"def from_version_{version}(parts):",
            f"    return parts  # change them to version {version + 1}",
            "",
        ]
    if len(steps) > _MAX_STEPS:
        lines += ["", f"# And so on, up to from_version={steps[-1]}.", ""]
    return lines


def _langgraph(target: str, namespace: str, workflow_id: str) -> str:
    thread, _, place = workflow_id.partition(_SEPARATOR)
    configurable = {"thread_id": _name(thread), "checkpoint_ns": _name(place)}
    return "\n".join(
        [
            "from holdfast.adapters.langgraph import HoldfastSaver",
            "",
            f"with HoldfastSaver.from_target({target or _PLACEHOLDER!r}, namespace={namespace!r}) as saver:",
            "    graph = builder.compile(checkpointer=saver)  # your graph",
            f"    graph.invoke(None, {{'configurable': {configurable!r}}})",
            "",
        ]
    )


def _name(encoded: str) -> str:
    """Return the name that the adapter has encoded: percent signs escape characters, and a lone one is no name."""
    return "" if encoded == "%" else unquote(encoded, errors="surrogatepass")
