"""What a handler that takes a second argument learns of its call."""

import json
import os
import time

FUNCTION = os.environ.get("RUNNEL_FUNCTION", "")
VERSION = os.environ.get("RUNNEL_VERSION", "")
WORKER = os.environ.get("RUNNEL_WORKER") or str(os.getpid())
MEMORY = int(os.environ.get("RUNNEL_MEMORY") or 0)

LEVELS = {
    "debug": "debug",
    "info": "info",
    "warn": "warn",
    "warning": "warn",
    "error": "error",
    "critical": "error",
}


class Meta:
    """What the frame says of a call; its JSON is parsed when somebody asks."""

    __slots__ = ("id", "deadline", "raw", "send_log", "_parsed")

    def __init__(self, id, deadline, raw, send_log):
        self.id = id
        self.deadline = deadline
        self.raw = raw
        self.send_log = send_log
        self._parsed = None

    def parsed(self):
        if self._parsed is None:
            self._parsed = json.loads(self.raw) if self.raw else {}
        return self._parsed

    def item(self, index):
        items = self.parsed().get("items") or ()
        return items[index] if index < len(items) else {}


class Identity:
    __slots__ = ()
    cognito_identity_id = None
    cognito_identity_pool_id = None


IDENTITY = Identity()


class Context:
    """The call that a handler is in, and the message that it is for.

    The names of AWS Lambda's context are there as well.
    """

    __slots__ = ("_meta", "_index", "_count")

    def __init__(self, meta, index, count):
        self._meta = meta
        self._index = index
        self._count = count

    # The message. Of a list, the first: the others are in messages.

    @property
    def message_id(self):
        return self._meta.item(self._index).get("message", "")

    @property
    def attempt(self):
        """1 on the first try of this message."""
        return self._meta.item(self._index).get("attempt", 1)

    @property
    def key(self):
        return self._meta.item(self._index).get("key", "")

    @property
    def attributes(self):
        """A dict of strings; of an attribute of a Binary type, its base64."""
        return self._meta.item(self._index).get("attributes") or {}

    @property
    def trace(self):
        """The W3C traceparent of the message, or an empty string."""
        return self._meta.item(self._index).get("trace", "")

    @property
    def messages(self):
        """One context per value of a list; this one alone otherwise."""
        if self._count <= 1:
            return [self]
        return [Context(self._meta, i, 1) for i in range(self._count)]

    # The call.

    @property
    def invocation_id(self):
        return self._meta.id.decode()

    @property
    def flow(self):
        return self._meta.parsed().get("flow") or ""

    @property
    def function_name(self):
        return FUNCTION

    @property
    def function_version(self):
        return VERSION

    @property
    def deadline(self):
        """When the call is given up, in seconds since 1970; None means never."""
        return self._meta.deadline / 1000 or None

    @property
    def remaining_time(self):
        """Seconds until the deadline; 0 when it is over."""
        if not self._meta.deadline:
            return float("inf")
        return max(0.0, self._meta.deadline / 1000 - time.time())

    def log(self, *args):
        """log(text) or log(level, text): a line for the log.

        The level is debug, info, warn or error; info if it is left out.
        """
        if len(args) == 1:
            level, text = "info", args[0]
        elif len(args) == 2:
            level, text = args
        else:
            raise TypeError("log wants a text, or a level and a text")
        word = LEVELS.get(str(level).lower())
        if word is None:
            raise ValueError("%r is no level: want debug, info, warn or error" % (level,))
        self._meta.send_log(self._meta.id, word, str(text))

    # The names of AWS Lambda.

    @property
    def aws_request_id(self):
        return self.invocation_id

    @property
    def invoked_function_arn(self):
        region = os.environ.get("AWS_REGION") or "local"
        return "arn:aws:lambda:%s:000000000000:function:%s" % (region, FUNCTION.rpartition("/")[2])

    @property
    def memory_limit_in_mb(self):
        """A string of digits, as with AWS; None without a limit."""
        return str(MEMORY >> 20) if MEMORY else None

    @property
    def log_group_name(self):
        return "/runnel/" + FUNCTION

    @property
    def log_stream_name(self):
        return "%s/%s" % (VERSION, WORKER)

    @property
    def identity(self):
        """Nobody's: its attributes are None."""
        return IDENTITY

    @property
    def client_context(self):
        return None

    @property
    def tenant_id(self):
        return None

    def w3c(self):
        """The trace context, as a dict."""
        return {"traceparent": self.trace} if self.trace else {}

    def get_remaining_time_in_millis(self):
        if not self._meta.deadline:
            return (1 << 31) - 1
        return int(self.remaining_time * 1000)

    def __repr__(self):
        return "Context(invocation_id=%r, message_id=%r, attempt=%r)" % (
            self.invocation_id,
            self.message_id,
            self.attempt,
        )
