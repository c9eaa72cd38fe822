import sys
from pathlib import Path

import pytest
import random_tasks

import armt_train


@pytest.fixture
def random_data(monkeypatch):
    """The tests' own data in the place of the tasks."""
    monkeypatch.setitem(sys.modules, "armt_train.tasks", random_tasks)
    monkeypatch.setattr(armt_train, "tasks", random_tasks, raising=False)


@pytest.fixture(scope="session")
def golden_folder():
    """Outputs of the authors' code: ARMT_GOLDEN, or test/golden/authors of the repository."""
    import os

    folder = Path(os.environ.get("ARMT_GOLDEN") or Path(__file__).parents[2] / "test" / "golden" / "authors")
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: the outputs of the authors' code; ARMT_GOLDEN names another folder")
    return folder
