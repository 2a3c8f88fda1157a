"""Steps about workers that come, end and are killed, and about their queues."""

import time

import tasks
from worker import TIMEOUT, at_least, equal


def queue_life(s):
    """The producer makes the queue; a purge empties it."""
    for i in range(3):
        s.ask(tasks.add, i, i)
    equal(s.attributes()["VisibilityTimeout"], str(tasks.VISIBILITY_TIMEOUT), "VisibilityTimeout of the queue")
    equal(s.counts(), (3, 0), "visible, in flight before the purge")
    with tasks.app.connection_for_write() as connection:
        at_least(connection.default_channel.queue_purge(s.name), 3, "messages that the purge counts")
    equal(s.counts(), (0, 0), "visible, in flight after the purge")


def fifo(s):
    """Each group is worked off in its order."""
    name = s.name + ".fifo"
    sent = [f"{group}{i}" for i in range(6) for group in "ab"]
    for text in sent:
        s.ask(tasks.meet, text, queue=name, MessageGroupId=text[0], MessageDeduplicationId=text)
    s.ask(tasks.meet, "a0 again", queue=name, MessageGroupId="a", MessageDeduplicationId="a0")
    equal(s.attributes(name)["FifoQueue"], "true", "FifoQueue")
    equal(s.counts(name), (len(sent), 0), "visible, in flight")
    got = []
    with s.worker(name, pool="solo"):
        for _ in sent:
            text, let_go = s.meetings.next()
            got.append(text)
            let_go()
        s.until_counts(0, 0, name)
    for group in "ab":
        wanted = [t for t in sent if t.startswith(group)]
        equal([t for t in got if t.startswith(group)], wanted, f"tasks of group {group}")


def restore_at_shutdown(s):
    """What a worker holds and has not begun goes back to the queue at once,
    though the visibility timeout is far away."""
    for text in "abcde":
        s.ask(tasks.meet, text)
    with s.worker() as first:
        begun, let_go = s.meetings.next()
        # The message of the one that runs is deleted before it begins. The others
        # fill the prefetch count, so that no receive of this worker is under way
        # in which it could lose what it gives back.
        first.until_received(5)
        s.until_counts(0, 4)
        first.terminate()
        let_go()
        first.stop()
    got = [begun]
    with s.worker():
        for _ in range(4):
            text, let_go = s.meetings.next()
            got.append(text)
            let_go()
        s.until_counts(0, 0)
    equal(sorted(got), list("abcde"), "tasks that ran")


def killed_worker(s):
    """A task that acknowledges late survives the death of its worker: another
    one does it after the visibility timeout."""
    timeout = 3
    s.ask(tasks.echo, "makes the queue")
    s.sqs.set_queue_attributes(QueueUrl=s.url(), Attributes={"VisibilityTimeout": str(timeout)})
    result = s.ask(tasks.meet_late, "x")
    with s.worker() as first:
        start = time.monotonic()
        _, never_let_go = s.meetings.next()  # while this is kept, the task waits
        first.kill()
    with s.worker():
        text, let_go = s.meetings.next()
        at_least(time.monotonic() - start, timeout, "seconds from the start of the first worker to the second run")
        equal(text, "x", "task that runs again")
        del never_let_go
        let_go()
        equal(result.get(timeout=TIMEOUT, interval=0.05), "go", "value of the task")
        s.until_counts(0, 0)
