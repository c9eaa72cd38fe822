import json

import anthropic
import pytest
from conftest import ANSWER, CALL

MESSAGES = [{"role": "user", "content": "Where is the lamp?"}]
COMMON = {"model": "tiny", "max_tokens": 100}
SCHEMA = {
    "type": "object",
    "properties": {"where": {"type": "string", "enum": ["box", "shelf"]}},
    "required": ["where"],
    "additionalProperties": False,
}
# tries keep to the most probable tokens
GREEDY = {"temperature": 0}


@pytest.fixture
def client(url):
    return anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0)


def test_chat(client):
    message = client.messages.create(**COMMON, messages=MESSAGES, system="Be short.", extra_body=GREEDY)
    assert message.content[0].text == ANSWER
    assert message.stop_reason == "end_turn"
    assert client.messages.count_tokens(model="tiny", messages=MESSAGES).input_tokens > 0


def test_stream(client):
    with client.messages.stream(**COMMON, messages=MESSAGES, extra_body=GREEDY) as stream:
        assert "".join(stream.text_stream) == ANSWER


def test_tools(client):
    tools = [{"name": "find", "description": "Looks into a place.", "input_schema": SCHEMA}]
    message = client.messages.create(**COMMON, messages=MESSAGES, tools=tools, extra_body=GREEDY)
    call = message.content[-1]
    assert (call.type, call.name, call.input) == ("tool_use", "find", CALL)
    chat = [
        *MESSAGES,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "a lamp"}]},
    ]
    after = client.messages.create(**COMMON, messages=chat, tools=tools, extra_body=GREEDY)
    assert after.content[0].text == ANSWER


def test_schema(client):
    output = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    message = client.messages.create(**COMMON, messages=MESSAGES, extra_body={**GREEDY, **output})
    assert json.loads(message.content[0].text)["where"] in ("box", "shelf")


def test_errors(client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="other", max_tokens=1, messages=MESSAGES)
    with pytest.raises(anthropic.BadRequestError, match="mystery"):
        client.messages.create(**COMMON, messages=MESSAGES, extra_body={"mystery": 1})
