"""Steps about what stands around queues: tags, permissions, move tasks."""

import json
import time

from client import at_most, equal, fails

BAD_VALUE = ("InvalidParameterValue", "InvalidParameterValueException")


def tags(s):
    url = s.sqs.create_queue(QueueName=s.name, tags={"team": "blue", "empty": ""})["QueueUrl"]
    equal(s.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"team": "blue", "empty": ""}, "tags of a new queue")
    s.sqs.tag_queue(QueueUrl=url, Tags={"team": "grün", "a b": "&<>\""})
    s.sqs.untag_queue(QueueUrl=url, TagKeys=["empty", "never there"])
    equal(s.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"team": "grün", "a b": "&<>\""}, "tags after changes")
    fails(s.sqs.tag_queue, *BAD_VALUE, QueueUrl=url, Tags={f"t{i}": "" for i in range(49)})
    s.sqs.untag_queue(QueueUrl=url, TagKeys=["team", "a b"])
    equal("Tags" in s.sqs.list_queue_tags(QueueUrl=url), False, "Tags when there are none")


def permissions(s):
    url = s.create()
    arn = s.attributes(url, "QueueArn")["QueueArn"]
    account = arn.split(":")[4]
    one = {"QueueUrl": url, "Label": "one", "AWSAccountIds": [account], "Actions": ["SendMessage"]}
    s.sqs.add_permission(**one)
    fails(s.sqs.add_permission, *BAD_VALUE, **one)
    fails(s.sqs.add_permission, *BAD_VALUE, **{**one, "Label": "two", "Actions": ["CreateQueue"]})
    fails(s.sqs.add_permission, "OverLimit", "OverLimit", 403, **{**one, "Label": "two", "Actions": ["*"] * 8})
    s.sqs.add_permission(**{**one, "Label": "two", "Actions": ["ReceiveMessage", "DeleteMessage"]})
    policy = json.loads(s.attributes(url, "Policy")["Policy"])
    equal([(p["Sid"], p["Action"], p["Resource"]) for p in policy["Statement"]], [
        ("one", "SQS:SendMessage", arn), ("two", ["SQS:ReceiveMessage", "SQS:DeleteMessage"], arn),
    ], "statements of the Policy")
    s.sqs.remove_permission(QueueUrl=url, Label="one")
    fails(s.sqs.remove_permission, *BAD_VALUE, QueueUrl=url, Label="one")
    s.sqs.remove_permission(QueueUrl=url, Label="two")
    equal(s.attributes(url, "Policy"), {}, "Policy when the last permission is gone")


def dead_letter_sources(s):
    dead = s.create("-dead")
    policy = json.dumps({"deadLetterTargetArn": s.attributes(dead, "QueueArn")["QueueArn"], "maxReceiveCount": 1})
    equal(s.sqs.list_dead_letter_source_queues(QueueUrl=dead).get("queueUrls", []), [], "sources of a new queue")
    wanted = [s.create(f"-{i}", RedrivePolicy=policy) for i in range(3)]
    pages = s.sqs.get_paginator("list_dead_letter_source_queues").paginate(
        QueueUrl=dead, PaginationConfig={"PageSize": 2}
    )
    equal([u for page in pages for u in page["queueUrls"]], wanted, "sources by pages of two")


def move_tasks(s):
    dead = s.create("-dead")
    arn = s.attributes(dead, "QueueArn")["QueueArn"]
    url = s.create(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1}))
    other = s.create("-other")
    for i in range(5):
        s.sqs.send_message(QueueUrl=url, MessageBody=str(i))
    s.receive_n(url, 5, VisibilityTimeout=0)
    equal(s.receive(url), [], "messages in the source after maxReceiveCount receives")
    equal(s.counts(dead), (5, 0, 0), "visible, in flight, delayed in the dead-letter queue")

    fails(s.sqs.start_message_move_task, *BAD_VALUE, SourceArn=s.attributes(url, "QueueArn")["QueueArn"])
    missing = ("ResourceNotFoundException", "ResourceNotFoundException", 404)
    fails(s.sqs.start_message_move_task, *missing, SourceArn=arn + "-nowhere")
    fails(s.sqs.list_message_move_tasks, *missing, SourceArn=arn + "-nowhere")
    fails(s.sqs.cancel_message_move_task, *BAD_VALUE, TaskHandle="not a handle")
    equal(s.sqs.list_message_move_tasks(SourceArn=arn).get("Results", []), [], "tasks before the first")

    s.sqs.start_message_move_task(SourceArn=arn)
    got = s.receive_n(url, 5)
    equal(sorted(m["Body"] for m in got), [str(i) for i in range(5)], "bodies that came back")
    deadline = time.monotonic() + 10
    while (task := s.sqs.list_message_move_tasks(SourceArn=arn)["Results"][0])["Status"] == "RUNNING":
        at_most(time.monotonic(), deadline, "time at which the task has ended")
    counts = (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"])
    equal((task["Status"], counts), ("COMPLETED", (5, 5)), "first task")
    at_most(abs(task["StartedTimestamp"] / 1000 - time.time()), 60, "StartedTimestamp apart from our clock, in seconds")

    # To another queue, one a second, and cancelled.
    for m in got:
        s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"], VisibilityTimeout=0)
    equal(s.receive(url), [], "messages in the source, once more")
    to = s.attributes(other, "QueueArn")["QueueArn"]
    handle = s.sqs.start_message_move_task(SourceArn=arn, DestinationArn=to, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    fails(s.sqs.start_message_move_task, *BAD_VALUE, SourceArn=arn)
    task = s.sqs.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"][0]
    equal((task["TaskHandle"], task["Status"], task["DestinationArn"], task["MaxNumberOfMessagesPerSecond"]),
          (handle, "RUNNING", to, 1), "second task")
    at_most(s.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"], 4, "messages moved")
    tasks = s.sqs.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"]
    equal([t["Status"] in ("CANCELLING", "CANCELLED") for t in tasks], [True, False], "tasks that were cancelled")
    fails(s.sqs.cancel_message_move_task, *BAD_VALUE, TaskHandle=handle)
