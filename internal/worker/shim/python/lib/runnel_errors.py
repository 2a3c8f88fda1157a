"""Errors of user code as the JSON that a worker sends."""

import json
import os
import traceback

# The most of a stack, and of a message, that is sent.
MAX_STACK = 16 << 10
MAX_NAME = 256

# What an exception's attribute __runnel__ can say.
KINDS = ("rejected", "retry", "output", "undecodable")

# The files whose frames are not the user's.
SHIM = {__file__}
# How a worker runs a coroutine.
MACHINERY = (os.sep + "asyncio" + os.sep, os.sep.join(("", "concurrent", "futures", "")))


class OutputError(Exception):
    """The handler's value cannot be sent."""

    __runnel__ = "output"


class InputError(Exception):
    """The payload is not what the frame says; not the handler's fault."""

    __runnel__ = "undecodable"


class LoadError(Exception):
    """The handler is not where it should be, or is none."""


def describe(error, default=None):
    """Returns the JSON of an exception, as bytes. It does not raise.

    With a default, the name is what Algorithmia calls its error type: the
    attribute error_type, or the default.
    """
    try:
        out = _describe(error)
        if default is not None and out["kind"] == "error":
            named = getattr(error, "error_type", None)
            out["name"] = _clip(named, MAX_NAME) if isinstance(named, str) and named else default
        return _encode(out)
    except MemoryError:
        return b'{"kind":"out_of_memory","name":"MemoryError","message":"out of memory","stack":""}'
    except Exception as second:
        return _encode(
            {
                "kind": "error",
                "name": _clip(type(error).__qualname__, MAX_NAME),
                "message": "the error cannot be shown: %s" % type(second).__qualname__,
                "stack": "",
            }
        )


def _describe(error):
    known = getattr(type(error), "__runnel__", None)
    out = {
        "kind": known if known in KINDS else "error",
        "name": _clip(type(error).__qualname__, MAX_NAME),
        "message": _clip(_message(error), MAX_STACK),
    }
    if isinstance(error, MemoryError):
        out["kind"] = "out_of_memory"
        out["message"] = out["message"] or "out of memory"
    elif known == "retry":
        after = getattr(error, "after", None)
        if isinstance(after, (int, float)) and 0 <= after < float("inf"):
            out["after"] = after
        else:
            out["kind"] = "error"
    if isinstance(error, (OutputError, InputError, LoadError)):
        out["stack"] = ""  # it would be the worker's own
        return out
    out["stack"] = _clip(_stack(error), MAX_STACK)
    return out


def _encode(out):
    # A lone surrogate becomes \udXXX, which is what JSON calls it too.
    return json.dumps(out, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _message(error):
    try:
        return str(error)
    except Exception as second:
        return "<str() of the error raised %s>" % type(second).__qualname__


def _stack(error):
    """The traceback with its causes, without the frames of the worker."""
    top = traceback.TracebackException(type(error), error, error.__traceback__)
    todo, seen = [top], set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.stack = _users(one.stack)
        todo += [one.__cause__, one.__context__]
        todo += getattr(one, "exceptions", None) or []
    if len(seen) == 1 and not top.stack:
        return "".join(top.format_exception_only())
    return "".join(top.format())


def _users(stack):
    out, machinery = [], False
    for frame in stack:
        name = frame.filename
        if name in SHIM:
            machinery = True
            continue
        if name.startswith("<frozen importlib"):
            continue
        if machinery and any(part in name for part in MACHINERY):
            continue
        machinery = False
        out.append(frame)
    return traceback.StackSummary.from_list(out)


def _clip(text, limit):
    """Keeps the begin and, since Python's traces end with the error, more of the end."""
    if len(text) <= limit // 4:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= limit:
        return text
    room = limit - 64
    head, tail = raw[: room // 4], raw[len(raw) - (room - room // 4) :]
    return "%s\n[... %d bytes left out ...]\n%s" % (
        head.decode("utf-8", "ignore"),
        len(raw) - room,
        tail.decode("utf-8", "ignore"),
    )


def place(value):
    """Says where in value something is that is not JSON, and what; None if there is no such place."""
    # Depth first without recursion; open holds the containers that we are inside of.
    todo, open_ = [(value, "")], set()
    while todo:
        one, path = todo.pop()
        if path is None:
            open_.discard(one)
            continue
        where = "at %s" % path.lstrip(".") if path else "the value itself"
        if one is None or isinstance(one, (str, bool, int)):
            continue
        if isinstance(one, float):
            if one != one or one in (float("inf"), float("-inf")):
                return "%s is not JSON (%s)" % (one, where)
            continue
        if _type(one) == "decimal.Decimal":
            if not one.is_finite():
                return "%s is not JSON (%s)" % (one, where)
            continue
        if not isinstance(one, (dict, list, tuple)):
            return "an object of type %s is not JSON (%s)" % (_type(one), where)
        if id(one) in open_:
            return "a %s that contains itself is not JSON (%s)" % (_type(one), where)
        if len(open_) > 900:
            return "it is nested too deeply"
        open_.add(id(one))
        todo.append((id(one), None))
        if isinstance(one, dict):
            for key in one:
                if not (key is None or isinstance(key, (str, bool, int, float))):
                    return "a key of type %s is not JSON (%s)" % (_type(key), where)
                if isinstance(key, float) and (key != key or key in (float("inf"), float("-inf"))):
                    return "the key %s is not JSON (%s)" % (key, where)
            todo += [(v, "%s.%s" % (path, _clip(str(k), 64))) for k, v in reversed(list(one.items()))]
        else:
            todo += [(one[i], "%s[%d]" % (path, i)) for i in range(len(one) - 1, -1, -1)]
    return None


def _type(value):
    kind = type(value)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return "%s.%s" % (kind.__module__, kind.__qualname__)
