"""Errors whose type is the decision: retry, set the message aside, or stop."""


class LakeError(Exception):
    """Base of all errors of the lake; the message says what, where and the remedy."""


class RetryableError(LakeError):
    """The other side is down or busy: wait and retry."""


class PoisonError(LakeError):
    """This message or row can never be accepted: dead-letter it and continue.

    Attributes:
        reason: a short stable label for metrics and headers, e.g. ``unparsable``.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class FatalError(LakeError):
    """Continuing would harm the data or cannot succeed: stop."""


class NothingToDoError(LakeError):
    """There is nothing to work on: not a failure, but to be reported as skipped."""
