"""What handlers get and return, as the bytes of frames."""

import json
import sys

import runnel_errors
from runnel_errors import InputError, OutputError, describe


def _number(value):
    """What JSON has no word for: of that only decimal numbers can be sent, as with AWS Lambda."""
    decimal = sys.modules.get("decimal")
    if decimal is None or not isinstance(value, decimal.Decimal):
        raise TypeError
    if value.is_finite() and 0 <= value.as_tuple().exponent < 400:
        return int(value)
    return float(value)


_decode_json = json.JSONDecoder().decode
_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_number).encode


def decode(payload, format):
    if format == b"bytes":
        return payload
    try:
        text = payload.decode()
        return text if format == b"text" else _decode_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError("the payload is not %s: %s" % ("text" if format == b"text" else "JSON", error)) from None


def encode(value, format):
    """Returns the kind of a handler's value and its bytes."""
    if value is None:
        return b"none", b""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"bytes", bytes(value)
    if format == b"text" and isinstance(value, str):
        try:
            return b"text", value.encode()
        except UnicodeEncodeError as error:
            raise OutputError("the returned text is not Unicode: %s" % error) from None
    if isinstance(value, BaseException):
        raise value
    try:
        # A lone surrogate becomes \udXXX, which is what JSON calls it too.
        return b"json", _encode_json(value).encode("utf-8", "backslashreplace")
    except MemoryError:
        raise
    except Exception as error:
        why = runnel_errors.place(value) or str(error)
        raise OutputError("the returned value cannot be sent: " + why) from None


def check_list(value, count):
    """Raises if value cannot be the answers to a list of count."""
    if not isinstance(value, (list, tuple)):
        raise OutputError(
            "the handler returned %s for a list of %d: want a list of as many" % (type(value).__name__, count)
        )
    if len(value) != count:
        raise OutputError("the handler returned a list of %d for a list of %d" % (len(value), count))


def list_result(id, values, format, handler):
    answers = []
    for one in values:
        try:
            answers.append(handler.encode(one, format))
        except BaseException as error:
            answers.append((b"error", handler.describe(error)))
    return result(id, answers)


def result(id, answers):
    if len(answers) == 1:
        kind, raw = answers[0]
        return b"result %b 1 %b:%d\n%b" % (id, kind, len(raw), raw)
    parts = [b"result %b %d" % (id, len(answers))]
    parts += [b" %b:%d" % (kind, len(raw)) for kind, raw in answers]
    parts.append(b"\n")
    parts += [raw for _, raw in answers]
    return b"".join(parts)


def failed_call(id, raw):
    return b"error %b %d\n%b" % (id, len(raw), raw)
