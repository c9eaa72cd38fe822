"""A picture of log.jsonl: recall in training and held out, and the losses."""

import json


def plot(folder):
    """Writes log.png into the folder; gives its path, or None where the log has nothing to draw."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines() if line]
    training = [line for line in lines if "per_second" in line]
    held_out = [line for line in lines if "held_out" in line]
    if not training:
        return None
    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(9, 8), sharex=True)
    minutes = lambda lines: [line["seconds"] / 60 for line in lines]
    top.plot(minutes(training), [100 * line["recall"] for line in training], color="0.7", label="training, all tasks")
    for task in sorted({task for line in held_out for task in line["held_out"]["by_task"]}):
        own = [line for line in held_out if task in line["held_out"]["by_task"]]
        top.plot(
            minutes(own), [100 * line["held_out"]["by_task"][task] for line in own], "o-", label=f"held out: {task}"
        )
    for before, line in zip(training, training[1:]):
        if line["stage"] != before["stage"]:
            top.axvline(before["seconds"] / 60, color="0.85")
            bottom.axvline(before["seconds"] / 60, color="0.85")
    top.set_ylabel("right answers, %")
    top.set_ylim(0, 100)
    top.legend(fontsize="small")
    for name in training[0]["losses"]:
        values = [line["losses"].get(name) or float("nan") for line in training]
        if name != "norm" and any(value == value for value in values):
            bottom.plot(minutes(training), values, label=name.replace("_", " "))
    bottom.set_ylabel("loss")
    bottom.set_yscale("symlog", linthresh=0.1)
    bottom.set_xlabel("minutes")
    bottom.legend(fontsize="small")
    figure.tight_layout()
    target = folder / "log.png"
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
    return target
