"""Errors that carry the decision: try again, set the message aside, or stop."""


class LakeError(Exception):
    """Something went wrong; the message says what, where and the remedy."""


class RetryableError(LakeError):
    """The other side is away or busy: wait and do the same again."""


class PoisonError(LakeError):
    """This one message or row can never be accepted: dead-letter it and go on.

    Attributes:
        reason: a short stable word for metrics and headers, e.g. ``unparsable``.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class FatalError(LakeError):
    """Going on would harm the data or can never succeed: stop and say so."""


class NothingToDoError(LakeError):
    """There was nothing to work on: no fault, but not done either, and to be shown as such."""
