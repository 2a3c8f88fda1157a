"""What the steps share: the client, names, and requests that it has no call for."""

import json
import os
import time

import Algorithmia
import requests

# How long what happens by itself may take on a busy machine, in seconds.
PATIENCE = 60


class Setting:
    """One step's client, and the beginning of the names of what it makes."""

    def __init__(self, prefix, step, signed):
        self.url = os.environ["ALGORITHMIA_API"]
        self.key = os.environ["ALGORITHMIA_API_KEY"]
        self.name = f"{step}_{prefix[-12:]}"
        self.signed = signed
        self.client = Algorithmia.client(self.key, self.url)

    def request(self, method, path, key=None, **more):
        """A request as the client makes them: with the bare key."""
        headers = {"Authorization": key or self.key} | more.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=PATIENCE, **more)

    def algorithm(self, source, name="", publish="public"):
        """Makes an algorithm of a source text, and publishes it as 0.1.0."""
        algo = self.client.algo(f"default/{self.name}{name}")
        made = algo.create(
            details={"label": "of a session"},
            settings={
                "license": "apl", "network_access": "full", "pipeline_enabled": True, "source_visibility": "open",
                "algorithm_environment": self.environment(),
            },
        )
        expect(made["name"], self.name + name, "name of what was created")
        self.save(algo, source)
        built = algo.compile()
        if publish:
            algo.publish(
                settings={"algorithm_callability": publish},
                version_info={"version_type": "minor", "release_notes": "the first", "sample_input": '"Ada"'},
            )
        return algo, built["version_info"]["git_hash"]

    def environment(self):
        """The id of the environment of Python."""
        return self.client.get_environment("python3")["environments"][0]["id"]

    def save(self, algo, source):
        """Writes the file of an algorithm, as the web editor of the original did."""
        path = f"/v1/algorithms/{algo.username}/{algo.algoname}/source/src/{algo.algoname}.py"
        answer = self.request("PUT", path, data=source.encode())
        expect(answer.status_code, 200, f"status of PUT {path}: {answer.text}")

    def sqs(self, action, body):
        answer = self.request("POST", "/", headers={
            "Authorization": "Bearer " + self.key,
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action,
        }, data=json.dumps(body))
        expect(answer.status_code, 200, f"status of {action}: {answer.text}")
        return answer.json()


def expect(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def raises(kind, call, *words):
    """Calls what must fail, with an error of a kind, which has these words."""
    try:
        call()
    except kind as err:
        text = str(err)
        for word in words:
            if word not in text:
                raise AssertionError(f"the error does not say {word!r}: {text}") from err
        return err
    raise AssertionError(f"no error, want {kind.__name__}")


def until(what, look):
    """Waits until look returns something true, and returns that."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE} s until {what}")
