"""Convert questions that wait for a human to JSON and back, without connection settings of a model.

CrewAI sends the reply to a question to the model that is stored with it, with the process's own API key. Therefore
connection settings (an address, a key, headers) are neither saved nor taken from saved data. They come from the flow's
own code: the class that asked, if it is loaded. No class is imported for that.
"""

from collections.abc import Iterator
from typing import Any

from crewai.flow.async_feedback.types import PendingFeedbackContext
from crewai.flow.flow import Flow

from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast._core.errors import HoldfastError
from holdfast.adapters.crewai.states import read, unreadable, value_json

FEEDBACK_PART = "feedback"

# The settings of a model that a saved question may contain: its name, and how it answers.
_KEPT = frozenset(
    {
        "model",
        "temperature",
        "top_p",
        "top_k",
        "n",
        "stop",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "presence_penalty",
        "frequency_penalty",
        "reasoning_effort",
    }
)
_LEFT_OUT = "llm_settings_left_out"


def question_json(context: PendingFeedbackContext) -> bytes:
    """Return the payload of a question.

    Raises:
        UnsavableValueError: a value of the question has no JSON form.

    """
    fields = context.to_dict()
    if isinstance(fields["llm"], dict):
        kept, left_out = _split(fields["llm"])
        fields |= {"llm": kept, **({_LEFT_OUT: left_out} if left_out else {})}
    return value_json("the feedback context", fields, root="context")


def question(loaded: LoadedCheckpoint, feedback_llm: Any) -> PendingFeedbackContext:
    """Return the question in a checkpoint, with the model of the flow's own code.

    Args:
        loaded: the checkpoint.
        feedback_llm: the model to use if the flow's class is not loaded; None if there is none.

    Raises:
        FormatIncompatibleError: this adapter did not save the question; or its model had connection settings, and the
            code that contains them is not loaded.

    """
    fields = read(loaded, FEEDBACK_PART)
    try:
        context = PendingFeedbackContext.from_dict(fields)
    except Exception as error:
        raise unreadable(loaded, f"it is not a feedback context: {error!r}") from error
    if not (isinstance(context.flow_class, str) and isinstance(context.method_name, str)):
        raise unreadable(loaded, "it is not a feedback context: flow_class and method_name must be text")
    models = list(_models_of(context.flow_class, context.method_name))
    if models and all(model == models[0] for model in models):
        context.llm = models[0]
        return context
    if feedback_llm is not None:
        context.llm = _config(feedback_llm)
        return context
    if not isinstance(context.llm, dict):
        context.llm = context.llm if isinstance(context.llm, str) else None
        return context
    kept, left_out = _split(context.llm)
    if left_out or fields.get(_LEFT_OUT):
        raise _code_not_loaded(loaded, context, left_out or fields[_LEFT_OUT])
    context.llm = kept
    return context


def _split(llm: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    return {key: value for key, value in llm.items() if key in _KEPT}, sorted(map(str, llm.keys() - _KEPT))


def _models_of(flow_class: str, method_name: str) -> Iterator[Any]:
    """Yield the models of the loaded classes with this name that ask in this method."""
    waiting: list[Any] = [Flow]
    seen: set[Any] = set()
    while waiting:
        cls = waiting.pop()
        if cls in seen:
            continue
        seen.add(cls)
        waiting += cls.__subclasses__()
        if f"{cls.__module__}.{cls.__name__}" == flow_class:
            method = cls.flow_definition().methods.get(method_name)
            if method is not None and method.human_feedback is not None:
                yield _config(method.human_feedback.llm)


def _config(llm: Any) -> Any:
    """Return a model in the form in which CrewAI stores it with a question."""
    if llm is None or isinstance(llm, str | dict):
        return llm
    to_config = getattr(llm, "to_config_dict", None)
    return to_config() if to_config is not None else str(llm.model)


def _code_not_loaded(loaded: LoadedCheckpoint, context: PendingFeedbackContext, left_out: list[str]) -> HoldfastError:
    return unreadable(
        loaded,
        f"the model that reads the reply needs {', '.join(map(str, left_out))!r:.200}, which must come from the flow's "
        f"own code, and class {context.flow_class!r:.200} is not loaded: import it, or pass feedback_llm",
    )
