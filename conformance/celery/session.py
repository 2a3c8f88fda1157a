"""A session of unmodified Celery, a producer and its workers, with a server
that speaks SQS as the broker.

Usage: session.py PREFIX [--signed]

PREFIX begins the name of every queue that is made, so that sessions can share
a server. Endpoint, region and credentials come from the environment
(AWS_ENDPOINT_URL_SQS, AWS_REGION, AWS_ACCESS_KEY_ID, ...). Every request is
signed; --signed, with which other sessions check that wrong keys are refused,
adds no step.

Each step prints one line, "ok STEP" or "FAIL STEP: REASON"; the last line is
"done N". The exit code is 1 if one failed.
"""

import os
import sys
import tempfile
import traceback

import boto3
import celery
import kombu
import pycurl

# The workers are told by the environment, which tasks.py reads.
folder = tempfile.TemporaryDirectory(prefix="conformance-celery-")
os.environ["SESSION_DIR"] = folder.name
os.mkdir(os.path.join(folder.name, "results"))

import task_steps  # noqa: E402 # it needs the folder
import worker_steps  # noqa: E402
from worker import Meetings, Session  # noqa: E402

# The steps of the first list share a queue and a worker.
SHARED = [
    ("plain", task_steps.plain),
    ("countdown", task_steps.countdown),
    ("retry", task_steps.retry),
    ("failure", task_steps.failure),
    ("group", task_steps.group),
]
OWN = [
    ("queue-life", worker_steps.queue_life),
    ("fifo", worker_steps.fifo),
    ("restore-at-shutdown", worker_steps.restore_at_shutdown),
    ("killed-worker", worker_steps.killed_worker),
]


def main():
    prefix = sys.argv[1]
    curl = pycurl.version.split()[0].split("/")[1]
    print(f"version celery {celery.__version__}, kombu {kombu.__version__}, boto3 {boto3.__version__}, pycurl {curl}", flush=True)
    meetings = Meetings()
    shared = Session(prefix + "-tasks", meetings)
    failed = 0
    with shared.worker(concurrency=2):
        failed += sum(not run(name, step, shared) for name, step in SHARED)
    failed += sum(not run(name, step, Session(prefix + "-" + name, meetings)) for name, step in OWN)
    print("done", len(SHARED) + len(OWN), flush=True)
    folder.cleanup()
    sys.exit(1 if failed else 0)


def run(name, step, session):
    try:
        step(session)
    except Exception as err:  # every step reports, whatever went wrong in it
        traceback.print_exc()
        print(f"FAIL {name}: {type(err).__name__}: {err}".replace("\n", " "), flush=True)
        return False
    print("ok", name, flush=True)
    return True


if __name__ == "__main__":
    main()
