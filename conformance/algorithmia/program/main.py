"""A program for the Algorithm Development Kit, with load and apply. It says
where what it imports comes from, and uses the client as far as the worker's own
has it too."""

import Algorithmia
from Algorithmia import ADK
from Algorithmia.errors import AlgorithmException, DataApiError


class InputError(Exception):
    error_type = "InputError"


def load(manifest):
    manifest["greeting"] = "hello"
    return manifest


def apply(input, manifest):
    client = Algorithmia.client()
    if isinstance(input, bytes):
        return input[::-1]
    if isinstance(input, str):
        return manifest["greeting"] + " " + input
    if "fail" in input:
        raise InputError(input["fail"])
    if "call" in input:
        return client.algo("algo://demo/Hello/0.1.0").pipe(input["call"]).result
    if "missing" in input:
        try:
            client.file("data://demo/words/" + input["missing"]).getString()
        except DataApiError as error:
            return {"error": "unable to get file" in str(error)}
    if "bad" in input:
        try:
            client.algo("demo/Hello/0.1.0").pipe("fail")
        except AlgorithmException as error:
            return {"type": error.error_type}
    file = client.file("data://demo/words/a.json").putJson(input)
    with file.getFile() as copy:
        text = copy.read()
    return {
        "real": type(client).__init__.__code__.co_filename.count("site-packages") > 0,
        "ours": "site-packages" not in ADK.__init__.__code__.co_filename,
        "again": file.getJson(),
        "text": text,
        "names": [one.getName() for one in client.dir("data://demo/words").files()],
    }


algorithm = ADK(apply, load)
algorithm.init({"a": 1})
