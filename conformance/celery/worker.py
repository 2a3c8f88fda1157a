"""What the steps share: a session, workers, the place where tasks meet it, and checks."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import boto3

import tasks

TIMEOUT = 60  # s, until something must have happened on a busy machine


class Session:
    """One step, and the names of its queues. Celery makes them itself; boto3
    only looks at them."""

    def __init__(self, name, meetings):
        self.name = name
        self.meetings = meetings
        self.sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"])

    def url(self, name=None):
        return self.sqs.get_queue_url(QueueName=name or self.name)["QueueUrl"]

    def attributes(self, name=None):
        return self.sqs.get_queue_attributes(QueueUrl=self.url(name), AttributeNames=["All"])["Attributes"]

    def counts(self, name=None):
        """Visible, in flight."""
        got = self.attributes(name)
        return tuple(int(got["ApproximateNumberOfMessages" + n]) for n in ("", "NotVisible"))

    def until_counts(self, visible, in_flight, name=None):
        """A worker deletes the message of a task some time after the task ran,
        and one that is told to stop before that may not do it at all."""
        deadline = time.monotonic() + TIMEOUT
        while (got := self.counts(name)) != (visible, in_flight):
            if time.monotonic() > deadline:
                equal(got, (visible, in_flight), f"visible, in flight after {TIMEOUT} s")

    def ask(self, task, *args, **options):
        """Sends a task to the step's queue."""
        return task.apply_async(args, **{"queue": self.name, **options})

    def worker(self, queue=None, pool="prefork", concurrency=1):
        return Worker(queue or self.name, pool, concurrency)


class Meetings:
    """Where tasks come while they run (tasks.meet)."""

    def __init__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(tasks.MEETING_PLACE)
        self.listener.listen(64)
        self.listener.settimeout(TIMEOUT)

    def next(self):
        """Waits for a task that runs: its name, and a function that lets it end."""
        connection, _ = self.listener.accept()
        connection.settimeout(TIMEOUT)
        with connection.makefile() as lines:
            name = lines.readline().strip()

        def let_go():
            with connection:
                connection.sendall(b"go\n")

        return name, let_go


class Worker:
    """A worker process of Celery for one queue. Its log goes to the standard
    error of the session, too."""

    def __init__(self, queue, pool, concurrency):
        command = [
            sys.executable, "-m", "celery", "--app", "tasks", "worker", "--queues", queue, "--pool", pool,
            "--concurrency", str(concurrency), "--loglevel", "INFO", "--without-gossip", "--without-mingle",
            "--without-heartbeat",
        ]
        # A group of its own, so that its pool can be killed with it.
        self.process = subprocess.Popen(
            command, cwd=os.path.dirname(os.path.abspath(__file__)), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        self.received = 0  # tasks, as far as the log says; guarded by logged
        self.logged = threading.Condition()
        self.reader = threading.Thread(target=self._read_log)
        self.reader.start()

    def _read_log(self):
        for line in self.process.stdout:  # ends when the last process of the worker has
            sys.stderr.write(line)
            if line.rstrip().endswith("] received"):
                with self.logged:
                    self.received += 1
                    self.logged.notify_all()

    def until_received(self, n):
        with self.logged:
            if not self.logged.wait_for(lambda: self.received >= n, TIMEOUT):
                equal(self.received, n, f"tasks that the worker has received after {TIMEOUT} s")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            if self.process.poll() is None:
                self.kill()
            self.reader.join(TIMEOUT)

    def terminate(self):
        """Begins a warm shutdown."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        if self.process.poll() is None:
            self.terminate()
            equal(self.process.wait(TIMEOUT), 0, "exit code of the worker")

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT)


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r:.400}, want {want!r:.400}")


def at_least(got, limit, what):
    if got < limit:
        raise AssertionError(f"{what}: got {got!r}, want at least {limit!r}")
