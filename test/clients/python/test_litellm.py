import json
from typing import Literal

import litellm
import pytest
from conftest import ANSWER, CALL
from pydantic import BaseModel, Field

MESSAGES = [{"role": "user", "content": "Where is the lamp?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {
            "type": "object",
            "properties": {"where": {"type": "string", "enum": ["box", "shelf"]}},
            "required": ["where"],
        },
    },
}


class Place(BaseModel):
    place: Literal["box", "shelf"]
    count: int = Field(ge=1, le=9)


@pytest.fixture
def complete(url):
    def call(model="openai/tiny", **more):
        options = {"api_base": f"{url}/v1", "api_key": "unused", "temperature": 0, "max_retries": 0}
        return litellm.completion(**{"model": model, "messages": MESSAGES, **options, **more})

    return call


def test_chat(complete):
    assert complete().choices[0].message.content == ANSWER


def test_stream(complete):
    parts = [chunk.choices[0].delta.content or "" for chunk in complete(stream=True)]
    assert "".join(parts) == ANSWER


def test_tools(complete):
    message = complete(tools=[TOOL]).choices[0].message
    [call] = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("find", CALL)
    result = {"role": "tool", "tool_call_id": call.id, "content": "a lamp"}
    after = complete(messages=[*MESSAGES, message, result], tools=[TOOL])
    assert after.choices[0].message.content == ANSWER


def test_schema(complete):
    message = complete(response_format=Place).choices[0].message
    Place.model_validate_json(message.content)


def test_errors(complete):
    with pytest.raises(litellm.NotFoundError):
        complete(model="openai/other")
    with pytest.raises(litellm.BadRequestError, match="mystery"):
        complete(extra_body={"mystery": 1})
