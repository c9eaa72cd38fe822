import json
from typing import Literal

import openai
import pytest
from conftest import ANSWER, CALL
from pydantic import BaseModel, Field

MESSAGES = [{"role": "user", "content": "Where is the lamp?"}]
COMMON = {"model": "tiny", "temperature": 0}


class Find(BaseModel):
    """Looks into a place."""

    where: Literal["box", "shelf"]


class Place(BaseModel):
    place: Literal["box", "shelf"]
    count: int = Field(ge=1, le=9)
    note: str | None = None


@pytest.fixture
def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


def test_chat(client):
    chat = client.chat.completions.create(**COMMON, messages=MESSAGES)
    assert chat.choices[0].message.content == ANSWER
    assert client.responses.create(**COMMON, input="Where is the lamp?").output_text == ANSWER


def test_stream(client):
    with client.chat.completions.stream(**COMMON, messages=MESSAGES) as stream:
        assert stream.get_final_completion().choices[0].message.content == ANSWER
    with client.responses.stream(**COMMON, input="Where is the lamp?") as stream:
        assert stream.get_final_response().output_text == ANSWER


def test_tools(client):
    tools = [openai.pydantic_function_tool(Find, name="find")]
    message = client.chat.completions.create(**COMMON, messages=MESSAGES, tools=tools).choices[0].message
    [call] = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("find", CALL)
    result = {"role": "tool", "tool_call_id": call.id, "content": "a lamp"}
    after = client.chat.completions.create(**COMMON, messages=[*MESSAGES, message, result], tools=tools)
    assert after.choices[0].message.content == ANSWER


def test_schema(client):
    chat = client.chat.completions.parse(**COMMON, messages=MESSAGES, response_format=Place)
    assert isinstance(chat.choices[0].message.parsed, Place)
    response = client.responses.parse(**COMMON, input="Where is the lamp?", text_format=Place)
    assert isinstance(response.output_parsed, Place)


def test_errors(client):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as failure:
        client.chat.completions.create(**COMMON, messages=MESSAGES, extra_body={"mystery": 1})
    assert failure.value.param == "mystery"
