"""Run an agent of three tool calls that may be killed anywhere. A new process resumes its invocation.

A tool call may run twice if the kill came after it began and before the event with its response was acknowledged: at
most one call for each kill. A call whose response was acknowledged never runs again. The model may be asked again for
an answer that it has given: ADK drops a call without a response. So an answer may be in the session twice.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.apps import App, ResumabilityConfig
from google.adk.events import Event
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import Session
from google.adk.tools import ToolContext
from google.genai import types
from holdfast.adapters.adk import HoldfastSessionService

from tests.integration.adapters.killing import point

STEPS = 3


class PointedService(HoldfastSessionService):
    async def append_event(self, session: Session, event: Event) -> Event:
        responses = [f"response {each.response['result']}" for each in event.get_function_responses()]
        calls = [f"call {each.args['step']}" for each in event.get_function_calls()]
        name = " ".join(responses or calls or [event.author if event.content else "end"])
        point(f"before {name}")
        appended = await super().append_event(session, event)
        point(f"after {name}")
        return appended


class Scripted(BaseLlm):
    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        parts = [part for content in llm_request.contents for part in content.parts or []]
        done = [part.function_response.response["result"] for part in parts if part.function_response]
        if len(done) < STEPS:
            call = types.FunctionCall(id=f"call-{len(done)}", name="work", args={"step": len(done)})
            part = types.Part(function_call=call)
        else:
            part = types.Part(text=" ".join(map(str, done)))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def work(step: int, tool_context: ToolContext) -> dict[str, int]:
    """Do a step."""
    point(f"before step {step}")
    tool_context.state["steps"] = tool_context.state.get("steps", 0) + 1
    tool_context.state["user:last"] = step
    point(f"after step {step}")
    return {"result": step}


async def main(target: str, namespace: str) -> dict[str, Any]:
    who = {"user_id": "u", "session_id": "s"}
    async with PointedService.from_target(target, namespace=namespace) as service:
        agent = LlmAgent(name="worker", model=Scripted(model="scripted"), tools=[work])
        app = App(name="talk", root_agent=agent, resumability_config=ResumabilityConfig(is_resumable=True))
        runner = Runner(app=app, session_service=service)
        session = await service.get_session(app_name="talk", **who)
        if session is None:
            session = await service.create_session(app_name="talk", **who)
        if session.events:
            request: dict[str, Any] = {"invocation_id": session.events[-1].invocation_id}
        else:
            request = {"new_message": types.UserContent("go")}
        async for _ in runner.run_async(**who, **request):
            pass
        session = await service.get_session(app_name="talk", **who)
        answers = [part.text for event in session.events if event.content for part in event.content.parts if part.text]
        results = [each.response for event in session.events for each in event.get_function_responses()]
        return {"answer": answers[-1], "results": results, "state": session.state}


if __name__ == "__main__":
    result = Path(sys.argv[2])
    result.write_text(json.dumps(asyncio.run(main(sys.argv[1], result.parent.name))))
