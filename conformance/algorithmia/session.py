"""A session of Algorithmia's own client for Python, its `algo` command, and curl,
all unmodified, against a server that speaks Algorithmia's API.

Usage: session.py PREFIX [--signed]

PREFIX begins the names of what is made, so that sessions can share a server.
--signed adds the steps that need a server which demands keys. The server's
address is in ALGORITHMIA_API, an admin key of the account default in
ALGORITHMIA_API_KEY.

Each step prints one line, "ok STEP" or "FAIL STEP: REASON"; the last line is
"done N". The exit code is 1 if one failed. What the client itself prints goes to
standard error.
"""

import contextlib
import sys
import traceback
from importlib import metadata

import account_steps
import algorithm_steps
import call_steps
import command_steps
import data_steps
import flow_steps
from setting import Setting

STEPS = [
    ("directories", data_steps.directories, False),
    ("files", data_steps.files, False),
    ("listing", data_steps.listing, False),
    ("permissions", data_steps.permissions, True),
    ("create", algorithm_steps.create, False),
    ("build-and-publish", algorithm_steps.build_and_publish, False),
    ("failing-build", algorithm_steps.failing_build, False),
    ("secrets", algorithm_steps.secrets, False),
    ("environments", algorithm_steps.environments, False),
    ("management-client", algorithm_steps.management_client, False),
    ("call", call_steps.call, False),
    ("call-errors", call_steps.errors, False),
    ("call-output", call_steps.output, False),
    ("call-versions", call_steps.versions, False),
    ("call-others", call_steps.others, True),
    ("calls-of-calls", call_steps.children, False),
    ("accounts", account_steps.accounts, True),
    ("algo-command", command_steps.algo, False),
    ("curl-of-the-faq", command_steps.curl, True),
    ("walkthrough", flow_steps.walkthrough, False),
]


def main():
    prefix, signed = sys.argv[1], "--signed" in sys.argv[2:]
    report = sys.stdout
    print("version", "algorithmia", metadata.version("algorithmia"), file=report, flush=True)
    failed, done = 0, 0
    for name, run, needs_keys in STEPS:
        if needs_keys and not signed:
            continue
        # Names of algorithms have letters, digits and underscores, 30 at most.
        setting = Setting(prefix.replace("-", "_"), f"s{done}", signed)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                run(setting)
            print("ok", name, file=report, flush=True)
        except Exception as err:  # every step reports, whatever went wrong in it
            failed += 1
            traceback.print_exc()
            print(f"FAIL {name}: {type(err).__name__}: {' '.join(str(err).split())}", file=report, flush=True)
        done += 1
    print("done", done, file=report)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
