"""Steps about FIFO queues: groups, deduplication, order, redrive."""

import hashlib
import json

from client import equal, fails

BAD_VALUE = ("InvalidParameterValue", "InvalidParameterValueException")
NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
ALL = {"MessageSystemAttributeNames": ["All"]}
TEN = {**ALL, "MaxNumberOfMessages": 10}


def _create(s, suffix="", **attributes):
    return s.create(suffix + ".fifo", FifoQueue="true", **attributes)


def _send(s, url, body, **arguments):
    """Sends a body to the group of its first letter, with itself as the
    deduplication id."""
    return s.sqs.send_message(
        **{"QueueUrl": url, "MessageBody": body, "MessageGroupId": body[0], "MessageDeduplicationId": body, **arguments}
    )


def _bodies(messages, group):
    return [m["Body"] for m in messages if m["Attributes"]["MessageGroupId"] == group]


def fifo_queue(s):
    url = _create(s)
    equal(url.endswith("/" + s.name + ".fifo"), True, f"URL {url} ends in the name")
    wanted = {"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue",
              "FifoThroughputLimit": "perQueue"}
    equal(s.attributes(url, *wanted), wanted, "attributes of a new queue")
    equal(_create(s), url, "URL when created again")
    fast = {"ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId"}
    s.sqs.set_queue_attributes(QueueUrl=url, Attributes=fast)
    equal(s.attributes(url, *fast), fast, "attributes of high throughput")
    equal("FifoQueue" in s.attributes(s.create("-standard")), False, "FifoQueue of a standard queue")
    fails(s.sqs.create_queue, *BAD_VALUE, QueueName=s.name, Attributes={"FifoQueue": "true"})
    fails(s.sqs.create_queue, *BAD_VALUE, QueueName=s.name + "-2.fifo")
    s.sqs.delete_queue(QueueUrl=url)
    fails(s.sqs.get_queue_url, *NO_QUEUE, QueueName=s.name + ".fifo")


def fifo_groups(s):
    """A group is locked while one of its messages is in flight; others are not."""
    url = _create(s)
    sequence = [_send(s, url, body)["SequenceNumber"] for body in ("a0", "b0", "a1", "b1", "a2")]
    equal(sorted(set(sequence)), sequence, "sequence numbers in their order")
    equal([(len(n), n.isdigit()) for n in sequence], [(20, True)] * 5, "length of the sequence numbers, digits only")

    first = s.receive_one(url, **ALL)
    got = [first["Body"]] + [first["Attributes"][n] for n in ("MessageGroupId", "MessageDeduplicationId", "SequenceNumber")]
    equal(got, ["a0", "a", "a0", sequence[0]], "first message")
    others = s.receive(url, **TEN)
    equal([m["Body"] for m in others], ["b0", "b1"], "messages while group a is locked")
    equal(s.receive(url, **TEN), [], "messages while both groups are locked")
    s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    again = s.receive(url, **TEN)
    equal([(m["Body"], m["Attributes"]["ApproximateReceiveCount"]) for m in again], [("a0", "2"), ("a1", "1"), ("a2", "1")],
          "messages of group a after it was let go")
    s.sqs.delete_message(QueueUrl=url, ReceiptHandle=again[0]["ReceiptHandle"])
    equal(s.receive(url, **TEN), [], "messages while the rest of group a is in flight")
    entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(again[1:] + others)]
    equal(len(s.sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]), 4, "messages deleted")
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed in the end")


def fifo_timeout(s):
    """A visibility timeout that ends, and a purge, unlock a group."""
    url = _create(s, VisibilityTimeout=60)
    for body in ("a0", "a1"):
        _send(s, url, body)
    s.receive_one(url, VisibilityTimeout=1)
    equal([m["Body"] for m in s.receive(url, WaitTimeSeconds=10, **TEN)], ["a0", "a1"], "bodies after the timeout of a0")
    s.sqs.purge_queue(QueueUrl=url)
    _send(s, url, "a2")
    equal(s.receive_one(url)["Body"], "a2", "body sent to the locked group after the purge")


def fifo_batch(s):
    url = _create(s)
    bodies = ["ab"[i % 2] + str(i) for i in range(9)]
    entries = [
        {"Id": f"e{i}", "MessageBody": b, "MessageGroupId": b[0], "MessageDeduplicationId": b} for i, b in enumerate(bodies)
    ]
    entries.append({**entries[7], "Id": "e9", "MessageBody": "b again"})
    answer = s.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    sent = answer["Successful"]
    equal(([e["Id"] for e in sent], answer.get("Failed", [])), ([e["Id"] for e in entries], []), "entries")
    sequence = [e["SequenceNumber"] for e in sent]
    equal(sorted(sequence[:9]), sequence[:9], "sequence numbers in their order")
    equal((sent[9]["MessageId"], sequence[9]), (sent[7]["MessageId"], sequence[7]), "id and sequence number of the duplicate")
    got = s.receive_n(url, 9, **ALL)
    equal((_bodies(got, "a"), _bodies(got, "b")), (bodies[0::2], bodies[1::2]), "bodies of groups a, b")


def fifo_deduplication(s):
    def ids(answer):
        return answer["MessageId"], answer["SequenceNumber"]

    url = _create(s)
    sent = _send(s, url, "a first", MessageDeduplicationId="same")
    equal(ids(_send(s, url, "a second", MessageDeduplicationId="same")), ids(sent), "ids of a send again")
    got = s.receive_one(url)
    equal((got["Body"], s.counts(url)), ("a first", (0, 1, 0)), "body, counts")
    s.sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    equal(ids(_send(s, url, "b third", MessageDeduplicationId="same")), ids(sent), "ids of a send after the delete")
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed after the delete")

    # By content, which is the body and not the attributes.
    content = _create(s, "-content", ContentBasedDeduplication="true")
    same = {"QueueUrl": content, "MessageBody": "same body", "MessageGroupId": "a"}
    one = s.sqs.send_message(**same)
    attributes = {"N": {"DataType": "Number", "StringValue": "1"}}
    equal(ids(s.sqs.send_message(**same, MessageAttributes=attributes)), ids(one), "ids by content")
    s.sqs.send_message(**same, MessageDeduplicationId="other")
    got = s.receive_n(content, 2, **ALL)
    equal([m["Attributes"]["MessageDeduplicationId"] for m in got],
          [hashlib.sha256(b"same body").hexdigest(), "other"], "deduplication ids")

    # With the scope of a message group the same id counts in each of them.
    scoped = _create(s, "-scoped", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for body in ("a", "b", "a"):
        _send(s, scoped, body, MessageDeduplicationId="same")
    equal(sorted(m["Body"] for m in s.receive_n(scoped, 2)), ["a", "b"], "bodies of both groups")
    equal(s.counts(scoped), (0, 2, 0), "visible, in flight, delayed with the scope of a group")


def fifo_receive_attempt(s):
    url = _create(s)
    for body in ("a0", "a1"):
        _send(s, url, body)
    first = s.receive(url, ReceiveRequestAttemptId="one", **TEN)
    equal([m["Body"] for m in first], ["a0", "a1"], "bodies of the first attempt")
    again = s.receive(url, ReceiveRequestAttemptId="one", **TEN)
    equal([m["MessageId"] for m in again], [m["MessageId"] for m in first], "ids of the attempt again")
    equal(s.receive(url, ReceiveRequestAttemptId="two", **TEN), [], "messages of another attempt")


def fifo_dead_letter(s):
    def policy(queue):
        return json.dumps({"deadLetterTargetArn": s.attributes(queue, "QueueArn")["QueueArn"], "maxReceiveCount": 1})

    dead = _create(s, "-dead")
    url = _create(s, RedrivePolicy=policy(dead))
    source = s.attributes(url, "QueueArn")["QueueArn"]
    for body in ("a0", "a1", "a2"):
        _send(s, url, body)
    for m in s.receive_n(url, 3):
        s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"], VisibilityTimeout=0)
    equal(s.receive(url, **TEN), [], "messages in the source after maxReceiveCount receives")
    dead_letters = s.receive_n(dead, 3, **ALL)
    got = [(m["Body"], *(m["Attributes"][n] for n in ("MessageGroupId", "DeadLetterQueueSourceArn"))) for m in dead_letters]
    equal(got, [(b, "a", source) for b in ("a0", "a1", "a2")], "dead letters in their order")
    # SQS replaces the deduplication id, so that letters of other messages with the same one are kept.
    equal([m["Attributes"]["MessageDeduplicationId"] for m in dead_letters], [m["MessageId"] for m in dead_letters],
          "deduplication ids, which are the ids")
    equal(s.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], [url], "sources of the dead-letter queue")
    standard = {"RedrivePolicy": policy(s.create("-standard"))}
    fails(s.sqs.set_queue_attributes, *BAD_VALUE, QueueUrl=url, Attributes=standard)


def fifo_errors(s):
    url = _create(s)
    message = {"QueueUrl": url, "MessageBody": "x"}
    both = {**message, "MessageGroupId": "a", "MessageDeduplicationId": "a"}
    fails(s.sqs.send_message, "MissingParameter", "MissingRequiredParameterException", **message, MessageDeduplicationId="a")
    fails(s.sqs.send_message, *BAD_VALUE, **message, MessageGroupId="a")
    fails(s.sqs.send_message, *BAD_VALUE, **both, DelaySeconds=1)
    for bad in ("no spaces", "x" * 129):
        fails(s.sqs.send_message, *BAD_VALUE, **{**both, "MessageDeduplicationId": bad})
        fails(s.sqs.send_message, *BAD_VALUE, **{**both, "MessageGroupId": bad})
    fails(s.sqs.receive_message, *BAD_VALUE, QueueUrl=url, ReceiveRequestAttemptId="no spaces")
    standard = s.create("-standard")
    fails(s.sqs.receive_message, *BAD_VALUE, QueueUrl=standard, ReceiveRequestAttemptId="a")
    fails(s.sqs.send_message, *BAD_VALUE, QueueUrl=standard, MessageBody="x", MessageDeduplicationId="a")
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed")
