"""`armt-train` with the tests' own data, for runs in processes of their own."""

import sys

import random_tasks

import armt_train

sys.modules["armt_train.tasks"] = armt_train.tasks = random_tasks

from armt_train.cli import main  # noqa: E402

main()
