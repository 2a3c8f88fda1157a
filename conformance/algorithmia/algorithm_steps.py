"""Algorithms are made, built and published."""

import os
import tempfile

from setting import expect, raises, until

HELLO = '''from Algorithmia import ADK

def apply(input):
    return "hello " + input

ADK(apply).init("Algorithmia")
'''


def create(s):
    algo = s.client.algo(f"default/{s.name}")
    expect(algo.exists(), False, "exists before create")
    made = algo.create(details={"label": "first", "summary": "of a session"}, settings={
        "license": "apl", "network_access": "full", "pipeline_enabled": True, "source_visibility": "open",
        "algorithm_environment": s.environment(),
    })
    expect(made["name"], s.name, "name")
    expect(made["details"]["label"], "first", "label")
    expect(made["resource_type"], "algorithm", "resource_type")
    expect(algo.exists(), True, "exists after create")
    answer = s.request("GET", f"/v1/algorithms/default/{s.name}none")
    expect((answer.status_code, answer.text), (404, '{"error":"No such algorithm"}'), "of one that is not there")
    expect(s.request("GET", "/v1/algorithms/" + made["id"]).json()["name"], s.name, "by its id")
    raises(Exception, lambda: algo.create(details={}, settings={"algorithm_environment": s.environment()}))
    expect(algo.update(details={"label": "second"})["name"], s.name, "update, which sends a form")
    expect(algo.get_scm_status()["scm_connection_status"], "active", "scm status")
    answer = s.request("DELETE", f"/v1/algorithms/default/{s.name}")
    expect((answer.status_code, answer.text), (204, ""), "delete")
    expect(algo.exists(), False, "exists after delete")


def build_and_publish(s):
    algo, first = s.algorithm(HELLO)
    builds = algo.get_builds()
    expect(builds["results"][0]["status"], "succeeded", "status of the build")
    build = builds["results"][0]["build_id"]
    expect(algo.get_build(build)["build_id"], build, "one build")
    expect("Beginning container customization" in algo.get_build_logs(build)["logs"], True, "the log of a build")
    published = algo.info()["results"]
    expect(published[0]["version_info"]["semantic_version"], "0.1.0", "number of the first version")
    expect(published[0]["version_info"]["git_hash"], first, "hash of the first version")
    expect(algo.info(first)["version_info"]["release_notes"], "the first", "release notes")

    s.save(algo, HELLO.replace("hello", "hi"))
    second = algo.compile()["version_info"]["git_hash"]
    expect(second != first, True, "another source is another hash")
    answer = s.request("POST", f"/v1/algorithms/default/{s.name}/version", json={"version_info": {"version_type": "revision"}, "settings": {"algorithm_callability": "private"}})
    expect(answer.status_code, 200, f"publish by /version: {answer.text}")
    expect(answer.json()["version_info"]["semantic_version"], "0.1.1", "number of the second version")
    answer = s.request("POST", f"/v1/algorithms/default/{s.name}/versions", json={"version_info": {"version_type": "revision"}, "settings": {"algorithm_callability": "private"}})
    expect(answer.json()["error"]["code"], 1007, "code of a build that is published already")
    numbers = [v["version_info"]["semantic_version"] for v in algo.versions(published="true")["results"]]
    expect(sorted(numbers), ["0.1.0", "0.1.1"], "published versions")
    numbers = [v["version_info"]["semantic_version"] for v in algo.versions(callable="public")["results"]]
    expect(numbers, ["0.1.0"], "public versions")


def failing_build(s):
    algo, good = s.algorithm(HELLO)
    s.save(algo, "def apply(:\n")
    raises(Exception, lambda: fail_if_good(algo.compile()))
    expect(algo.pipe("Ada").result, "hello Ada", "what runs goes on")
    expect(algo.get_builds()["results"][0]["status"], "failed", "status of the build")


def fail_if_good(answer):
    if not answer.get("compilation", {}).get("successful"):
        raise RuntimeError(answer)


def secrets(s):
    source = 'import os\nfrom Algorithmia import ADK\n\ndef apply(input):\n    return os.environ.get(input, "none")\n\nADK(apply).init("Algorithmia")\n'
    algo, _ = s.algorithm(source)
    expect(algo.pipe("SESSION_SECRET").result, "none", "before it is set")
    made = algo.set_secret("session", "SESSION_SECRET", "quiet please", "of a session")
    expect("quiet please" in str(made), False, "the value is told again")
    listed = algo.get_secrets()
    expect("quiet please" in str(listed), False, "the value is listed")
    expect("SESSION_SECRET" in str(listed), True, "the name is listed")
    until("workers have it", lambda: algo.pipe("SESSION_SECRET").result == "quiet please")


def environments(s):
    languages = {l["name"] for l in s.client.get_supported_languages()}
    expect("python3" in languages, True, f"python3 among {languages}")
    found = s.client.get_environment("python3")["environments"]
    expect("Python 3" in found[0]["display_name"], True, "display_name")
    with tempfile.TemporaryDirectory() as folder:
        s.client.get_template(found[0]["environment_specification_id"], folder)
        names = {name for _, _, files in os.walk(folder) for name in files}
        expect("requirements.txt" in names and "algorithmia.conf" in names, True, f"the template's files, {names}")
    expect("internal" in str(s.client.scms()), True, "scms")


def management_client(s):
    """The generated client that the hand-written one is built on. Its calls for
    builds and versions want classes that it does not come with."""
    from algorithmia_api_client import CreateRequest, Details, SettingsMandatory
    api = s.client.manageApi
    made = api.create_algorithm("default", CreateRequest(
        name=s.name, details=Details(label="by the generated client"),
        settings=SettingsMandatory(
            source_visibility="open", license="apl", network_access="full", pipeline_enabled=True,
            environment="cpu", algorithm_environment=s.environment()),
    ))
    expect(made.name, s.name, "name")
    expect(api.get_algorithm("default", s.name).details.label, "by the generated client", "label")
    s.save(s.client.algo(f"default/{s.name}"), HELLO)
    expect(bool(api.compile_algorithm("default", s.name).version_info.git_hash), True, "git_hash")
