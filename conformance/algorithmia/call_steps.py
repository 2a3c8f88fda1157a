"""Algorithms are called."""

from Algorithmia.algorithm import OutputType
from Algorithmia.errors import AlgorithmException

from setting import expect, raises

ECHO = '''import sys, time
from Algorithmia import ADK

def apply(input):
    print("seen", type(input).__name__)
    if isinstance(input, dict) and "raise" in input:
        raise Exception(input["raise"])
    if isinstance(input, dict) and "sleep" in input:
        time.sleep(input["sleep"])
    if isinstance(input, dict) and "exit" in input:
        import os
        os._exit(3)
    if isinstance(input, (bytes, bytearray)):
        return bytes(reversed(input))
    return input

ADK(apply).init("Algorithmia")
'''


def call(s):
    algo, _ = s.algorithm(ECHO)
    for value in ("grüße", {"a": [1, None, "ü"]}, [1, 2], 7, True, None, ""):
        answer = algo.pipe(value)
        expect(answer.result, value, "result")
        if value is not None:
            expect(answer.metadata.content_type, "text" if isinstance(value, str) else "json", f"content_type of {value!r}")
        expect(answer.metadata.stdout, None, "stdout that nobody asked for")
        expect(answer.metadata.duration >= 0, True, "duration")
    answer = algo.pipe(b"\x00\xff1")
    expect((answer.result, answer.metadata.content_type), (b"1\xff\x00", "binary"), "bytes")


def errors(s):
    algo, _ = s.algorithm(ECHO)
    err = raises(AlgorithmException, lambda: algo.pipe({"raise": "not that"}), "not that")
    expect(err.error_type, "AlgorithmError", "error_type")
    expect("apply" in err.stack_trace, True, "stack")
    err = raises(AlgorithmException, lambda: algo.set_options(timeout=1).pipe({"sleep": 30}))
    expect(err.error_type, "TimeoutError", "error_type at the deadline")
    algo.set_options()
    err = raises(AlgorithmException, lambda: algo.pipe({"exit": 3}))
    expect(err.error_type, "SystemExit", "error_type of a process that ends")
    expect(algo.pipe("after").result, "after", "the next call")
    raises(Exception, lambda: s.client.algo(f"default/{s.name}none").pipe(1))
    if s.signed:
        import Algorithmia
        nobody = Algorithmia.client("RKAAAAAAAAAAAAAAAAAA.wrong", s.url)
        raises(Exception, lambda: nobody.algo(f"default/{s.name}").pipe(1))
    answer = s.request("POST", f"/v1/algo/default/{s.name}", data=b"{", headers={"Content-Type": "application/json"})
    expect(answer.status_code, 400, f"JSON that is none: {answer.text}")
    answer = s.request("POST", f"/v1/algo/default/{s.name}", data=b"x", headers={"Content-Type": "image/png"})
    expect(answer.status_code, 400, f"a type that is none: {answer.text}")


def output(s):
    algo, _ = s.algorithm(ECHO)
    expect(algo.set_options(stdout=True).pipe("x").metadata.stdout, "seen str\n", "stdout that was asked for")
    expect(algo.set_options(output=OutputType.raw).pipe("x"), "x", "raw text")
    expect(algo.set_options(output=OutputType.raw).pipe({"a": 1}).replace(" ", ""), '{"a":1}', "raw JSON")
    later = algo.set_options(output=OutputType.void).pipe("x")
    expect((later.async_protocol, bool(later.request_id)), ("void", True), "void")


def versions(s):
    algo, first = s.algorithm(ECHO)
    s.save(algo, ECHO.replace("return input", "return [input]"))
    second = algo.compile()["version_info"]["git_hash"]
    base = f"default/{s.name}"

    def result(version=""):
        return s.client.algo(base + version).pipe(1).result

    for version in ("", "/latest", "/0.1.0", "/0.1", "/0.1.*", "/0.*", "/" + first):
        expect(result(version), 1, f"version {version!r}")
    expect(result("/" + second), [1], "a build that is not published, by its hash")
    raises(Exception, lambda: result("/latestPrivate"))
    algo.publish(settings={"algorithm_callability": "private"}, version_info={"version_type": "major"})
    expect(result("/latestPrivate"), [1], "latestPrivate")
    expect(result(), 1, "latest is a public one")
    raises(Exception, lambda: result("/1.*"))
    expect(result("/1.0.0"), [1], "a private one by its number")
    answer = s.request("POST", f"/v1/algo/{base}/0.1.0/?timeout=300&stdout=false", json=1)
    expect((answer.status_code, answer.json()["result"]), (200, 1), "with a slash at the end")
    ident = s.request("GET", f"/v1/algorithms/{base}").json()["id"]
    expect(s.request("POST", f"/v1/algo/{ident}/0.1.0", json=1).json()["result"], 1, "by the id")


def others(s):
    """Another account's key: public versions only, and those that its list has."""
    import Algorithmia
    algo, first = s.algorithm(ECHO)
    s.client.create_user({"username": s.name + "u", "email": s.name + "@example.com", "passwordHash": "", "shouldCreateHello": False})

    def client(acl):
        made = s.request("POST", f"/v1/users/{s.name}u/keys", json={
            "key_label": "calls", "key_type": "AlgorithmKey", "permissions": {"allow_algo": bool(acl), "algo_acl": acl},
        })
        expect(made.status_code in (200, 201), True, f"a key: {made.status_code} {made.text}")
        return Algorithmia.client(made.json()["api_key"], s.url)

    everything = client(["algo://*"])
    expect(everything.algo(f"default/{s.name}").pipe(1).result, 1, "the public version")
    raises(Exception, lambda: everything.algo(f"default/{s.name}/{first}x").pipe(1))
    expect(client([f"algo://default/{s.name}"]).algo(f"default/{s.name}").pipe(1).result, 1, "with a key for this one")
    raises(Exception, lambda: client(["algo://default/other"]).algo(f"default/{s.name}").pipe(1))
    raises(Exception, lambda: client([]).algo(f"default/{s.name}").pipe(1))


def children(s):
    """An algorithm calls another one, with the key that it finds."""
    s.algorithm(ECHO, name="e")
    source = f'''import Algorithmia
from Algorithmia import ADK

client = Algorithmia.client()

def apply(input):
    return client.algo("default/{s.name}e").pipe(input).result + " and back"

ADK(apply).init("Algorithmia")
'''
    algo, _ = s.algorithm(source)
    expect(algo.pipe("there").result, "there and back", "the result of a call of a call")
