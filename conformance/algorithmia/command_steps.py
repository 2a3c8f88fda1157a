"""The algo command, and curl."""

import json
import os
import subprocess
import sys
import tempfile

from call_steps import ECHO
from setting import PATIENCE, expect


def algo(s):
    s.algorithm(ECHO)
    with tempfile.TemporaryDirectory() as home:
        os.mkdir(os.path.join(home, ".algorithmia"))
        with open(os.path.join(home, ".algorithmia", "config"), "w", encoding="utf-8") as config:
            config.write(f'[profiles.default]\napi_key = "{s.key}"\napi_server = "{s.url}"\nca_cert = ""\nbearer_token = ""\n')

        def run(*args):
            done = subprocess.run(
                [sys.executable, "-m", "Algorithmia", *args], env=os.environ | {"HOME": home}, cwd=home,
                capture_output=True, text=True, timeout=PATIENCE, check=False)
            if done.returncode:
                raise AssertionError(f"algo {' '.join(args)}: code {done.returncode}: {done.stderr}")
            return done.stdout.strip()

        expect(run("run", f"default/{s.name}", "-d", "Ada"), "Ada", "algo run -d")
        expect(run("run", f"default/{s.name}", "-j", '{"a": 1}'), "{'a': 1}", "algo run -j")
        expect(run("run", f"default/{s.name}", "-t", "text", "--timeout", "30"), "text", "algo run -t")
        run("mkdir", f"data://.my/{s.name}")
        with open(os.path.join(home, "up.txt"), "w", encoding="utf-8") as up:
            up.write("by the command")
        run("cp", "up.txt", f"data://.my/{s.name}/up.txt")
        expect(run("ls", f"data://.my/{s.name}/"), f".my/{s.name}/up.txt", "algo ls")
        expect(run("cat", f"data://.my/{s.name}/up.txt"), "by the command", "algo cat")
        run("cp", f"data://.my/{s.name}/up.txt", "down.txt")
        expect(open(os.path.join(home, "down.txt"), encoding="utf-8").read(), "by the command", "what was copied back")
        expect("up.txt" in run("ls", "-l", f"data://.my/{s.name}/"), True, "algo ls -l")
        run("rm", f"data://.my/{s.name}/up.txt")
        run("rmdir", f"data://.my/{s.name}")
        expect(s.client.dir(f"data://.my/{s.name}").exists(), False, "the directory after algo rmdir")
        expect("python3" in run("languages"), True, "algo languages")
        expect("Python 3" in run("environment", "python3"), True, "algo environment")
        expect(json.loads(run("builds", "default", s.name))[0]["status"], "succeeded", "algo builds")


def curl(s):
    """The two calls of the questions and answers about event flows."""

    def run(path, key):
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--fail", "-X", "GET", s.url + path, "-H", "Authorization: Simple " + key],
            capture_output=True, text=True, timeout=PATIENCE, check=True)
        return json.loads(done.stdout)

    user = run("/v1/users/default", s.key)
    expect(set(user) >= {"id", "username", "email", "fullname", "self_link", "resource_type"}, True, f"the fields of a user: {set(user)}")
    listeners = run(f"/v1/users/{user['id']}/event-listeners", s.key)
    expect(isinstance(listeners, list), True, "a bare list")
