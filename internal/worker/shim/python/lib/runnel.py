"""What a handler can raise to say what is to become of its message.

A worker adds this module at the end of sys.path: a file runnel.py or a package
runnel of the user's own comes first. A worker knows the two exceptions by their
attribute __runnel__, not by their class, so that another module can offer its
own.
"""

__all__ = ["Reject", "RetryAfter"]


class Reject(Exception):
    """The message can never succeed: it becomes a dead letter at once."""

    __runnel__ = "rejected"


class RetryAfter(Exception):
    """The message is to be tried again, not before so many seconds."""

    __runnel__ = "retry"

    def __init__(self, seconds, reason=""):
        seconds = float(seconds)
        if not 0 <= seconds < float("inf"):
            raise ValueError("RetryAfter wants a number of seconds from 0, not %r" % seconds)
        super().__init__(reason or "try again after %g s" % seconds)
        self.after = seconds
