"""Starts one server for all clients: npm run docs:clients compiles it first."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

#: The answer of the model that the server runs, and the arguments of the call that it writes.
ANSWER = "The lamp is in the box."
CALL = {"where": "box"}


@pytest.fixture(scope="session")
def url():
    command = ["node", str(ROOT / "dist/test/helpers/assistant-process.js")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        assert address, "the server did not start"
        yield address
        server.stdin.close()
        server.wait(timeout=30)
