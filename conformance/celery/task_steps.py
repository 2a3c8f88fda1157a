"""Steps about tasks, which share a worker with a pool of two processes."""

import time

import celery

import tasks
from worker import TIMEOUT, at_least, equal


def value(result):
    """The value of a task, or its exception; it looks for the file of the result."""
    return result.get(timeout=TIMEOUT, interval=0.05)


def plain(s):
    equal(value(s.ask(tasks.add, 2, 3)), 5, "2 + 3")
    for text in ("Grüße, мир, 世界, \U0001f680 <&> \"quotes\" \x01", "é" * 20_000):
        equal(value(s.ask(tasks.echo, text)) == text, True, f"{text[:30]} comes back unchanged")
    s.until_counts(0, 0)


def countdown(s):
    start = time.time()
    late = s.ask(tasks.clock, countdown=2)
    now = value(s.ask(tasks.clock))
    equal(late.ready(), False, "the task with a countdown of 2 s has run when the one after it had")
    at_least(value(late) - start, 2, "seconds until a task with a countdown of 2 s ran")
    at_least(value(late) - now, 0, "seconds from the task without a countdown to the one with")
    s.until_counts(0, 0)


def retry(s):
    equal(value(s.ask(tasks.retry, 2)), 2, "retries of a task that fails twice")
    s.until_counts(0, 0)


def failure(s):
    try:
        got = value(s.ask(tasks.fail, "no such file"))
    except ValueError as err:
        equal(str(err), "no such file", "text of the task's exception")
    else:
        raise AssertionError(f"a task that raises ended with {got!r}")
    s.until_counts(0, 0)  # a failed task is done, too


def group(s):
    signatures = [tasks.add.s(i, i).set(queue=s.name) for i in range(20)]
    equal(value(celery.group(signatures).apply_async()), [2 * i for i in range(20)], "values of a group of 20")
    s.until_counts(0, 0)
