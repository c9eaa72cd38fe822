"""Trains the tokenizer on the filler prose and the task's words: recipes/recall-tokenizer.json.

python -m armt_train.recall.tokenizer
"""

import json
import re
from collections import Counter
from pathlib import Path

from armt_train.recall.bpe import Tokenizer, split
from armt_train.recall.task import REPOSITORY

VOCAB_SIZE = 3072
TASK_WEIGHT = 3000  # how often each word of the task counts as seen, so that it becomes one token


def main():
    task = json.loads((REPOSITORY / "assets" / "recall" / "task.json").read_text())
    words = Counter()
    for line in (REPOSITORY / "train" / "data" / "prose-train.txt").read_text().splitlines():
        words.update(split(" " + line))
        words[split(line)[0]] += 1

    sentences = [
        s
        for kind in task["kinds"]
        for group in (kind["facts"], kind["questions"])
        for part in group.values()
        for s in part
    ]
    chatter = task["chatter"]
    sentences += [*chatter["train"], *chatter["heldOut"], task["answer"]["before"], task["answer"]["after"]]
    for sentence in sentences:
        for word in split(" " + re.sub(r" ?\{\w+\}", "", sentence)):
            words[word] += TASK_WEIGHT
    for name in [*task["lists"].values(), chatter["adj"], chatter["noun"], chatter["verb"], chatter["adv"]]:
        for word in name:
            words[split(" " + word)[0]] += TASK_WEIGHT

    # a name is a stem and an ending, one token each, whatever pairs prose would have joined
    pieces = [split(" " + s)[0] for s in task["names"]["stems"]] + [e for e in task["names"]["endings"] if len(e) > 1]
    tokenizer = Tokenizer.train(words, pieces, VOCAB_SIZE, task["answer"]["end"])
    (Path(__file__).parents[1] / "recipes" / "recall-tokenizer.json").write_text(
        json.dumps(tokenizer.to_json(), ensure_ascii=False, indent=1) + "\n"
    )
    print(f"{len(tokenizer)} tokens; {sum(words.values())} words")


if __name__ == "__main__":
    main()
