"""Facts as events: who did what, with what, where, for whom and why, in sentences that a small grammar makes."""

from armt_train.tasks.events.world import Events

__all__ = ["Events"]
