"""Programs for the Algorithm Development Kit; ALGORITHM says which."""

import asyncio
import os

import Algorithmia
from Algorithmia import ADK
from Algorithmia.errors import AlgorithmException
from runnel import Reject


def echo(input):
    return input


def kind(input):
    return {"kind": type(input).__name__}


def text(input):
    return "grüße"


def raw(input):
    return b"\x00\xff"


def more(input):
    return bytearray(input)


def nothing(input):
    return None


async def later(input):
    await asyncio.sleep(0)
    return input


class InputError(Exception):
    error_type = "InputError"


def fails(input):
    if input == "typed":
        raise InputError("not that")
    if input == "odd":
        error = ValueError("odd type")
        error.error_type = 7
        raise error
    if input == "called":
        raise AlgorithmException("the other one failed", error_type="ParsingError")
    if input == "reject":
        raise Reject("never")
    if input == "object":
        return object()
    raise KeyError("key")


loads = 0


def load():
    global loads
    loads += 1
    print("loading")
    return {"loads": loads}


def load_data(data):
    data["payload"] = "loaded"
    return data


def state(input, state):
    return [input, state["loads"]]


def falsy(input, state):
    return [input, state]


def maybe(input, state=None):
    return [input, state]


def data(input, data):
    return [data.user_data["payload"], data["payload"], data.data(), data.available()]


def model(input, data):
    with open(data.get_model("words")) as file:
        words = file.read()
    with open(data.get_model("extra")) as file:
        return [words, file.read()]


def bad_load():
    raise ValueError("no model")


def typed_load():
    raise InputError("no model")


def exits():
    raise SystemExit(1)


def calls(input):
    client = Algorithmia.client()
    answer = client.algo("algo://demo/Hello/0.1.0").pipe(input)
    return {"result": answer.result, "type": answer.metadata.content_type}


def files(input):
    client = Algorithmia.client()
    folder = client.dir("data://.my/things")
    out = {"before": folder.exists()}
    folder.create()
    file = folder.file("a b.json").putJson({"a": 1})
    client.file("data://.my/things/t.txt").put("grüße")
    out["json"] = file.getJson()
    out["text"] = Algorithmia.file("data://.my/things/t.txt").getString()
    with file.getFile() as copy:
        out["copy"] = copy.read()
    out["exists"] = [file.exists(), folder.file("none").exists()]
    out["files"] = sorted([one.getName(), one.size, one.last_modified.year] for one in folder.files())
    out["dirs"] = [one.path for one in Algorithmia.dir("").dirs()]
    try:
        folder.file("none").getBytes()
    except Algorithmia.errors.DataApiError as error:
        out["missing"] = str(error)
    out["deleted"] = [file.delete(), folder.delete(force=True)]
    return out


PROGRAMS = {
    "echo": lambda: ADK(echo).init("Algorithmia"),
    "kind": lambda: ADK(kind).init(),
    "text": lambda: ADK(text).init(),
    "raw": lambda: ADK(raw).init(),
    "more": lambda: ADK(more).init(),
    "nothing": lambda: ADK(nothing).init(),
    "later": lambda: ADK(later).init(),
    "fails": lambda: ADK(fails).init(),
    "state": lambda: ADK(state, load).init({"local": True}),
    "falsy": lambda: ADK(falsy, lambda: []).init(),
    "maybe": lambda: ADK(maybe).init(),
    "unused": lambda: ADK(echo, load).init(),
    "data": lambda: ADK(apply_func=data, load_func=load_data).init(),
    "model": lambda: ADK(model, lambda data: data, client=Algorithmia.client()).init(),
    "calls": lambda: ADK(calls).init(),
    "files": lambda: ADK(files).init(),
    "bad_load": lambda: ADK(echo, bad_load).init(),
    "typed_load": lambda: ADK(echo, typed_load).init(),
    "exits": lambda: ADK(echo, exits).init(),
    "two": lambda: ADK(state).init(),
    "none": lambda: ADK(lambda: 1).init(),
    "mlops": lambda: ADK(echo).init(mlops=True),
    "handler": lambda: Algorithmia.handler(state, load).serve(),
    "not_started": lambda: ADK(kind),
    "twice": lambda: (ADK(kind).init(), ADK(text).init()),
}

PROGRAMS[os.environ["ALGORITHM"]]()
