"""The dictionary of small compressed objects: text that markers and records of the adapters' engines often contain.

It is a part of the store's format: frames that were compressed with it can only be read with the very same bytes. A
better one needs a flag of its own in `frame`.
"""

_WORDS = (
    "about after again all also although always an and another any are as at be because been before being between both "
    "but by can cannot could created current data default did different do does done down during each either else "
    "error even every example expected failed false file find first following for found from function get given good "
    "had has have he help her here him his how however I if import in information into is it its itself just know "
    "last less let like list long look made make many may me message might more most much must my name need never new "
    "next no not nothing now null number of off on once one only open or other our out over own part please possible "
    "problem provide question read request response result return right run said same see should since so some still "
    "string such sure take text than that the their them then there these they thing think this those through time to "
    "tool true two type under until up use used user using value very want was way we well were what when where "
    "whether which while who why will with within without work would yes you your. The This It If You I'll Here is "
    "Please, for example, Let me know if you need "
)
_JSON = (
    '{"role": "assistant", "content": "", "name": null, "type": "text", "text": "", "id": "call_", "arguments": "{}", '
    '"args": {}, "function": {"name": ""}, "tool_calls": [], "usage": {"input_tokens": 0, "output_tokens": 0, '
    '"total_tokens": 0}, "finish_reason": "stop", "created_at": "2026-01-01T00:00:00+00:00", "timestamp": "", '
    '"status": "completed", "error": null, "result": {}, "state": {}, "value": true, "metadata": {}, "parts": [{"'
)
_NAMES = (
    "agent-framework-checkpoint burr-state crewai-flow-state crewai-checkpoint adk-event adk-changes temporal-payload "
    "pydantic-ai-run pydantic-ai-event pydantic-ai-snapshot pydantic-ai-tool-effect run_id session user needs_parent "
)
# Values as LangGraph's serializer writes them: MessagePack.
_MESSAGES = (
    b"\x94\xbalangchain_core.messages.tool\xabToolMessage\xa6status\xa7success\xactool_call_id\xa8artifact\xc0"
    b"\xaatool_calls\x91\x84\xa4name\xa4args\xa2id\xa4type\xa9tool_call\xb1response_metadata\x83\xaatoken_usage\x83"
    b"\xb1completion_tokens\xadprompt_tokens\xactotal_tokens\xadfinish_reason\xa4stop\xaamodel_name"
    b"\x94\xbdlangchain_core.messages.human\xacHumanMessage\x86\xa7content\xda"
    b"\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa5human\xa4name\xc0\xa2id\xc0\xb3model_validate_json"
    b"\x94\xbalangchain_core.messages.ai\xa9AIMessage\x89\xa7content\xda"
    b"\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa2ai\xa4name\xc0\xa2id\xd9$run-"
    b"\xaatool_calls\x90\xb2invalid_tool_calls\x90\xaeusage_metadata\x83\xacinput_tokens\xadoutput_tokens"
    b"\xc0\xb3model_validate_json"
)
# Records and markers of LangGraph as the server stores them: protobuf.
_RECORDS = (
    b'#000000\x12w\x00\x00\x00{"task_id": "", "task_path": "~__pregel_push, ", "writes": [[0, "'
    b'"task_path": "~__pregel_pull, __start__", "writes": [[0, "messages", "msgpack", 1'
    b']]}#000001\x12\x92\x01w\x00\x00\x00\x8d{"task_id": "'
    b'", "task_path": "~__pregel_pull, ", "writes": [[1, "branch:to:", "null", 0]]}'
)
_MARKERS = (
    b"b\x0f\n\x06source\x12\x05inputb\n\n\x04step\x12\x02-1\x83\xa6source\xa5input\xa4step\xff\xa7parents\x80"
    b"\x08\x01 R\x18\n\x14langgraph-checkpoint\x10\x01Z\x1d\n\x14langgraph-checkpoint\x12\x054.3.2"
    b"b\x0e\n\x06source\x12\x04loopb\t\n\x04step\x12\x011j\x0c\x08"
    b"z\n\x12checkpoint.msgpack\x10\x1a (\x012z]\n\x10metadata.msgpack\x10\x1c\x1a (\x012\x1c"
    b"\x83\xa6source\xa4loop\xa4step\x01\xa7parents\x80\x90\x01\x98\x01\xb2\x01 \xf0\x01\x88\x02"
)

DICTIONARY = b"".join(
    (_WORDS.encode(), _JSON.encode(), _NAMES.encode(), _MESSAGES, _RECORDS, _MARKERS),
)
