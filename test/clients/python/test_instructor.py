from typing import Literal

import instructor
import openai
import pytest
from conftest import ANSWER
from pydantic import BaseModel, Field

MESSAGES = [{"role": "user", "content": "Where is the lamp?"}]
COMMON = {"model": "tiny", "temperature": 0, "messages": MESSAGES}


class Place(BaseModel):
    """Where something is."""

    place: Literal["box", "shelf"]
    count: int = Field(ge=1, le=9)


def connect(url, mode):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
    return instructor.from_openai(client, mode=mode)


def test_chat(url):
    chat = connect(url, instructor.Mode.JSON_SCHEMA).chat.completions.create(**COMMON, response_model=None)
    assert chat.choices[0].message.content == ANSWER


def test_stream(url):
    parts = list(connect(url, instructor.Mode.JSON_SCHEMA).chat.completions.create_partial(**COMMON, response_model=Place))
    assert parts[-1].place in ("box", "shelf")


def test_tools(url):
    place = connect(url, instructor.Mode.TOOLS).chat.completions.create(**COMMON, response_model=Place)
    assert isinstance(place, Place)


def test_schema(url):
    place = connect(url, instructor.Mode.JSON_SCHEMA).chat.completions.create(**COMMON, response_model=Place)
    assert isinstance(place, Place)


def test_errors(url):
    client = connect(url, instructor.Mode.TOOLS)
    with pytest.raises(Exception, match="no model of this name"):
        client.chat.completions.create(**{**COMMON, "model": "other"}, response_model=Place, max_retries=0)
