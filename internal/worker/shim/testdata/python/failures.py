"""How a handler can fail."""

import asyncio
import json
import sys

from runnel import Reject, RetryAfter


def inner(event):
    raise ValueError("bad event: %r" % event)


def fail(event):
    inner(event)


async def fail_later(event):
    await asyncio.sleep(0)
    inner(event)


def chained(event):
    try:
        inner(event)
    except ValueError as error:
        raise RuntimeError("it failed") from error


def library(event):
    return json.loads("{")


def only(event):
    if event == 2:
        raise KeyError("two")
    return event


def recursive(event):
    return recursive(event)


def ladder(event):
    climb(event, 0)


def climb(event, depth):
    if depth == 300:
        raise ValueError("x" * 100000)
    return [even, odd_step][depth % 2](event, depth)


def even(event, depth):
    return climb(event, depth + 1)


def odd_step(event, depth):
    return climb(event, depth + 1)


def reject(event):
    raise Reject("no such customer")


def retry(event):
    raise RetryAfter(2.5, "busy")


def retry_badly(event):
    raise RetryAfter(-1)


class Odd(Exception):
    def __str__(self):
        raise ValueError("no text")


def odd(event):
    raise Odd()


def memory(event):
    return bytearray(1 << 60)


def leave(event):
    sys.exit(3)


def interrupt(event):
    raise KeyboardInterrupt()


def surrogate(event):
    raise ValueError("\ud800")


def returned(event):
    return ValueError("returned")


def fail_awaitable(event):
    return fail_later(event)
