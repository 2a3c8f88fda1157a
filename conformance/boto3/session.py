"""A session of the unmodified boto3 against a server that speaks SQS, by the
protocol that this boto3 speaks.

Usage: session.py PREFIX [--signed]

PREFIX begins the name of every queue that is made, so that sessions can share
a server. --signed adds the step that needs a server which verifies signatures.
Endpoint, region and credentials come from the environment, as for any program
that uses boto3 (AWS_ENDPOINT_URL_SQS, AWS_REGION, AWS_ACCESS_KEY_ID, ...).

Each step makes its own queues and prints one line, "ok STEP" or
"FAIL STEP: REASON"; the last line is "done N". The exit code is 1 if one
failed. boto3 itself checks the MD5 of every body; the MD5 of attributes, which
it does not check, is computed in digest.py.
"""

import sys
import traceback
from dataclasses import dataclass

import boto3

import admin_steps
import batch_steps
import error_steps
import fifo_steps
import message_steps
import queue_steps
from client import Session


@dataclass
class Step:
    name: str
    run: object
    signed_only: bool = False


STEPS = [
    Step("create-queue", queue_steps.create_queue),
    Step("list-queues", queue_steps.list_queues),
    Step("queue-attributes", queue_steps.queue_attributes),
    Step("counts", queue_steps.counts),
    Step("delay-of-queue", queue_steps.delay_of_queue),
    Step("purge", queue_steps.purge),
    Step("dead-letter", queue_steps.dead_letter),
    Step("delete-queue", queue_steps.delete_queue),
    Step("tags", admin_steps.tags),
    Step("permissions", admin_steps.permissions),
    Step("dead-letter-sources", admin_steps.dead_letter_sources),
    Step("move-tasks", admin_steps.move_tasks),
    Step("send-receive", message_steps.send_receive),
    Step("attribute-filters", message_steps.attribute_filters),
    Step("unicode", message_steps.unicode),
    Step("large-bodies", message_steps.large_bodies),
    Step("long-poll", message_steps.long_poll),
    Step("visibility", message_steps.visibility),
    Step("delay-of-message", message_steps.delay_of_message),
    Step("send-batch", batch_steps.send_batch),
    Step("receive-and-delete-batch", batch_steps.receive_and_delete_batch),
    Step("change-visibility-batch", batch_steps.change_visibility_batch),
    Step("batch-errors", batch_steps.batch_errors),
    Step("fifo-queue", fifo_steps.fifo_queue),
    Step("fifo-groups", fifo_steps.fifo_groups),
    Step("fifo-timeout", fifo_steps.fifo_timeout),
    Step("fifo-batch", fifo_steps.fifo_batch),
    Step("fifo-deduplication", fifo_steps.fifo_deduplication),
    Step("fifo-receive-attempt", fifo_steps.fifo_receive_attempt),
    Step("fifo-dead-letter", fifo_steps.fifo_dead_letter),
    Step("fifo-errors", fifo_steps.fifo_errors),
    Step("queue-errors", error_steps.queue_errors),
    Step("send-errors", error_steps.send_errors),
    Step("receive-errors", error_steps.receive_errors),
    Step("signature-errors", error_steps.signature_errors, signed_only=True),
]


def main():
    prefix, signed = sys.argv[1], "--signed" in sys.argv[2:]
    print("version", boto3.__version__, flush=True)
    failed = done = 0
    for step in STEPS:
        if step.signed_only and not signed:
            continue
        try:
            step.run(Session(prefix + "-" + step.name))
            print("ok", step.name, flush=True)
        except Exception as err:  # every step reports, whatever went wrong in it
            failed += 1
            traceback.print_exc()
            print(f"FAIL {step.name}: {type(err).__name__}: {err}".replace("\n", " "), flush=True)
        done += 1
    print("done", done, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
