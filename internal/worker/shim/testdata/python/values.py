"""What a handler can return."""

import asyncio
import datetime
import functools


def echo(event):
    return event


def nothing(event):
    return None


def number(event):
    return 42


def text(event):
    return "grüße"


def raw(event):
    return bytearray(b"\x00\xff\n")


def unicode(event):
    return {"größe": "雪 \U0001f680", "lone": "\ud800"}


def lone(event):
    return "\ud800"


def nan(event):
    return {"a": [1, float("nan")]}


def cyclic(event):
    value = {"a": []}
    value["a"].append(value)
    return value


def strange(event):
    return {"items": [{"when": datetime.date(2020, 1, 2)}]}


def strange_key(event):
    return {"a": {(1, 2): 3}}


def deep(event):
    value = []
    for _ in range(100000):
        value = [value]
    return value


def size(event):
    return len(event)


def large(event):
    return "x" * event


def kind(event):
    return type(event).__name__


def defaults(event, context=None):
    return context is not None


def variadic(*args):
    return len(args)


def decorated(f):
    @functools.wraps(f)
    def wrapper(*args):
        return f(*args)

    return wrapper


@decorated
def wrapped(event):
    return event


class Callable:
    def __call__(self, event, context):
        return [event, context.attempt]


instance = Callable()
partial = functools.partial(lambda a, event: [a, event], "first")


async def later(event):
    await asyncio.sleep(0)
    return event


soon = later


class AsyncCallable:
    async def __call__(self, event):
        return event


async_instance = AsyncCallable()


def awaitable(event):
    """Not seen to be async before it is called."""
    return later(event)


loops = set()


async def same_loop(event):
    loops.add(id(asyncio.get_running_loop()))
    return len(loops)


running = 0


async def serial(event):
    """Returns how many run at once."""
    global running
    running += 1
    await asyncio.sleep(0.001)
    seen = running
    running -= 1
    return seen


def reverse(events):
    return events[::-1]


def some(events):
    return [e if e % 2 else ValueError("%d is even" % e) for e in events]


def unfit(events):
    return [object() if e == 2 else e for e in events]


def short(events):
    return events[1:]


async def total(events, context):
    return [[e, m.message_id] for e, m in zip(events, context.messages)]
