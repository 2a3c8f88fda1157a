"""A session of Algorithmia's own client against the management API.

Usage: management.py URL KEY PREFIX [--signed]

Each step prints one line, "ok STEP" or "FAIL STEP: REASON"; the last line is
"done N". The steps are one story, and each needs those before it.
"""

import contextlib
import importlib.metadata
import os
import sys
import tempfile
import traceback

import Algorithmia
import requests
from Algorithmia.errors import AlgorithmException

PROGRAM = """import Algorithmia
from Algorithmia import ADK
def apply(input):
    return "%s " + input.get("filename")
algorithm = ADK(apply)
algorithm.init("Algorithmia")
"""


class Story:
    """The client, and what the steps have found out."""

    def __init__(self, url, key):
        self.url, self.key = url, key
        self.client = Algorithmia.client(key, url)
        self.algo = self.client.algo("default/Story")
        self.hash = self.build = None

    def save(self, text):
        """Saves the only file of the algorithm: the client has no call for it."""
        answer = requests.put(
            self.url + "/v1/algorithms/default/Story/source/src/Story.py", data=text, headers={"Authorization": self.key}
        )
        equal(answer.status_code, 200, "status of a save")


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def environments(s):
    names = [language["name"] for language in s.client.get_supported_languages()]
    equal("python3" in names, True, "python3 among " + ", ".join(names))
    environment = s.client.get_environment("python3")["environments"][0]
    equal(environment["display_name"].startswith("Python 3."), True, environment["display_name"])
    s.environment = environment["id"]
    with tempfile.TemporaryDirectory() as to:
        s.client.get_template(environment["environment_specification_id"], to)
        equal(sorted(os.listdir(to)), ["algorithmia.conf", "requirements.txt", "src"], "files of the template")


def create(s):
    equal(s.algo.exists(), False, "exists before")
    answer = s.algo.create(
        details={"label": "A story", "summary": "told", "tagline": "t"},
        settings={
            "source_visibility": "open", "algorithm_environment": s.environment, "license": "apl",
            "network_access": "isolated", "pipeline_enabled": False,
        },
        version_info={"sample_input": "hello"},
    )
    equal(answer["name"], "Story", "name")
    equal(answer["settings"]["network_access"], "isolated", "network access")
    equal(s.algo.exists(), True, "exists after")
    equal(s.algo.get_builds()["results"], [], "builds")


def compile_it(s):
    s.save(PROGRAM % "got")
    answer = s.algo.compile()
    equal(answer["compilation"], {"successful": True, "output": ""}, "compilation")
    s.hash, s.build = answer["version_info"]["git_hash"], answer["build"]["build_id"]
    equal(s.algo.compile()["version_info"]["git_hash"], s.hash, "hash of the same source")


def builds(s):
    page = s.algo.get_builds()
    equal([b["build_id"] for b in page["results"]], [s.build], "builds")
    build = s.algo.get_build(s.build)
    equal((build["status"], build["commit_sha"]), ("succeeded", s.hash), "the build")
    log = s.algo.get_build_logs(s.build)["logs"]
    equal("Beginning container customization" in log, True, log)


def publish(s):
    answer = s.client.algo("default/Story/" + s.hash).publish(
        details={"label": "testing123"},
        settings={"algorithm_callability": "private"},
        version_info={"release_notes": "created programmatically", "sample_input": "John", "version_type": "minor"},
    )
    equal(answer["version_info"]["semantic_version"], "0.1.0", "number")
    equal(s.algo.info(s.hash)["version_info"]["semantic_version"], "0.1.0", "number of the hash")
    equal(s.algo.info()["results"][0]["resource_type"], "algorithm", "resource type")
    equal(len(s.algo.versions(limit=1, published=True)["results"]), 1, "published versions")
    equal(s.algo.versions(callable=True)["results"], [], "public versions")
    try:
        s.algo.publish(version_info={"version_type": "minor"})
    except Exception as err:  # the client has no type of its own for it
        equal("400" in str(err), True, str(err))
    else:
        raise AssertionError("it was published twice")


def failing_build(s):
    s.save("def apply(:\n")
    answer = s.algo.compile()
    equal(answer["compilation"]["successful"], False, "successful")
    equal("SyntaxError" in answer["compilation"]["output"], True, answer["compilation"]["output"])
    equal(s.algo.info(s.hash)["compilation"]["successful"], True, "the version before")
    s.save(PROGRAM % "got")
    equal(s.algo.compile()["version_info"]["git_hash"], s.hash, "hash after a mend")


def update(s):
    # The client sends a form, without the values.
    equal("id" in s.algo.update(details={"summary": "new"}, settings={"license": "mit"}), True, "an id")


def secrets(s):
    answer = s.algo.set_secret("tst", "TEST_KEY", "test_value", "about it")
    equal((answer["short_name"], answer["secret_key"]), ("tst", "TEST_KEY"), "the secret")
    listed = s.algo.get_secrets()["secrets"]
    equal([(one["id"], one["description"]) for one in listed], [(answer["id"], "about it")], "the list")
    equal("test_value" in str(listed), False, "the value is in the list")


def keepers(s):
    equal(s.algo.get_scm_status(), {"scm_connection_status": "active"}, "status")
    equal([one["id"] for one in s.client.scms()["results"]], ["internal"], "keepers of sources")


def errors(s):
    equal(s.client.get_algorithm_errors(s.algo.get_algorithm_id()), [], "errors")
    try:
        s.client.get_algorithm_errors("hello")
    except AlgorithmException as err:
        equal(err.message, "No such algorithm", "message")
    else:
        raise AssertionError("there is no algorithm hello")


def delete(s):
    answer = s.client.deleteHelper("/v1/algorithms/default/Story")
    equal(answer.status_code, 204, "status")
    equal(s.algo.exists(), False, "exists")


STEPS = [environments, create, compile_it, builds, publish, failing_build, update, secrets, keepers, errors, delete]


def main():
    story = Story(sys.argv[1], sys.argv[2])
    print("version", importlib.metadata.version("algorithmia"), flush=True)
    failed = 0
    for step in STEPS:
        name = step.__name__.replace("_", "-")
        try:
            with contextlib.redirect_stdout(sys.stderr):  # the client prints as it goes
                step(story)
            print("ok", name, flush=True)
        except Exception as err:  # every step reports, whatever went wrong in it
            failed += 1
            traceback.print_exc()
            print(f"FAIL {name}: {type(err).__name__}: {err}".replace("\n", " "), flush=True)
    print("done", len(STEPS), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
