"""The Celery application of the session: what producer and workers share.

Everything that differs comes from the environment: the server and the key as
for any AWS client, $SESSION_DIR for results and the meeting place.
"""

import os
import socket
import time
from urllib.parse import quote, urlsplit

from celery import Celery

FOLDER = os.environ["SESSION_DIR"]
MEETING_PLACE = os.path.join(FOLDER, "socket")
VISIBILITY_TIMEOUT = 600  # s, of the queues that Celery makes; longer than the session
WAIT = 2  # s, of a long poll

server = urlsplit(os.environ["AWS_ENDPOINT_URL_SQS"])
key = [quote(os.environ[name], safe="") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]

app = Celery("tasks", broker="sqs://{}:{}@{}:{}".format(*key, server.hostname, server.port))
app.conf.update(
    broker_transport_options={
        "region": os.environ["AWS_REGION"],
        "is_secure": False,
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "wait_time_seconds": WAIT,
    },
    broker_connection_retry_on_startup=True,
    result_backend="file://" + os.path.join(FOLDER, "results"),
    worker_enable_remote_control=False,  # SQS has no fanout
    worker_prefetch_multiplier=4,
)


@app.task
def add(x, y):
    return x + y


@app.task
def echo(text):
    return text


@app.task
def clock():
    return time.time()


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def retry(self, failures):
    if self.request.retries < failures:
        raise self.retry(countdown=1, exc=RuntimeError(f"try {self.request.retries}"))
    return self.request.retries


@app.task
def meet(name):
    """Tells the session that it runs, and ends when the session says so."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(MEETING_PLACE)
        s.sendall(name.encode() + b"\n")
        return s.makefile().readline().strip()


@app.task(acks_late=True)
def meet_late(name):
    """meet, but its message is deleted only when it has ended."""
    return meet(name)
