"""Steps about single messages: attributes, bodies, waiting, visibility, delay."""

import threading
import time

import digest
from client import at_least, at_most, equal

ATTRIBUTES = {
    "Stone.Kind": {"DataType": "String", "StringValue": "Feldspat, полевой шпат, 長石"},
    "StoneWeight": {"DataType": "Number", "StringValue": "12.50"},
    "Raw": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
    "Colour": {"DataType": "String.css", "StringValue": "#abc"},
    "Count": {"DataType": "Number.int", "StringValue": "-3"},
    "Scan": {"DataType": "Binary.png", "BinaryValue": b"\x89PNG\r\n\x1a\n"},
}


def send_receive(s):
    now = time.time() * 1000
    url = s.create()
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"}}
    sent = s.sqs.send_message(
        QueueUrl=url, MessageBody="hello", MessageAttributes=ATTRIBUTES, MessageSystemAttributes=trace
    )
    equal(sent["MD5OfMessageBody"], digest.of_body("hello"), "MD5OfMessageBody")
    equal(sent["MD5OfMessageAttributes"], digest.of_attributes(ATTRIBUTES), "MD5OfMessageAttributes when sent")
    equal(sent["MD5OfMessageSystemAttributes"], digest.of_attributes(trace), "MD5OfMessageSystemAttributes")

    # AttributeNames is the older name of MessageSystemAttributeNames.
    for arguments in ({"AttributeNames": ["All"]}, {"MessageSystemAttributeNames": ["All"]}):
        got = s.receive_one(url, MessageAttributeNames=["All"], VisibilityTimeout=0, **arguments)
        equal(got["MessageId"], sent["MessageId"], "MessageId")
        equal((got["Body"], got["MD5OfBody"]), ("hello", digest.of_body("hello")), "body and its MD5")
        equal(got["MessageAttributes"], ATTRIBUTES, "MessageAttributes")
        equal(got["MD5OfMessageAttributes"], digest.of_attributes(ATTRIBUTES), "MD5OfMessageAttributes when received")
        system = got["Attributes"]
        equal(system["AWSTraceHeader"], trace["AWSTraceHeader"]["StringValue"], "AWSTraceHeader")
        at_least(len(system["SenderId"]), 1, "length of SenderId")
        at_most(abs(int(system["SentTimestamp"]) - now), 60_000, "SentTimestamp apart from our clock, in ms")
        at_least(int(system["ApproximateFirstReceiveTimestamp"]), int(system["SentTimestamp"]), "first receive")
    equal(system["ApproximateReceiveCount"], "2", "ApproximateReceiveCount")

    got = s.receive_one(url)
    equal(sorted(got), ["Body", "MD5OfBody", "MessageId", "ReceiptHandle"], "members when no attributes are asked for")
    for _ in range(2):  # the second one finds nothing to do, which is no error
        s.sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed after the delete")


def attribute_filters(s):
    url = s.create()
    s.sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=ATTRIBUTES)
    everything = sorted(ATTRIBUTES)
    # SQS takes what stands before ".*" as the prefix, so Stone.* finds StoneWeight.
    for names, wanted in [
        (["All"], everything),
        ([".*"], everything),
        (["Stone.*"], ["Stone.Kind", "StoneWeight"]),
        (["Stone.Kind"], ["Stone.Kind"]),
        (["Raw", "Stone.Kind"], ["Raw", "Stone.Kind"]),
        (["Count", "Sc.*", "Missing"], ["Count", "Scan"]),
        (["stone.kind"], []),
        ([], []),
    ]:
        got = s.receive_one(url, MessageAttributeNames=names, VisibilityTimeout=0)
        attributes = got.get("MessageAttributes", {})
        equal(sorted(attributes), wanted, f"attributes for the filter {names}")
        equal(attributes, {n: ATTRIBUTES[n] for n in wanted}, f"values for the filter {names}")
        # The digest is over what is returned, and absent when that is nothing.
        equal(
            got.get("MD5OfMessageAttributes"), digest.of_attributes(attributes) if wanted else None,
            f"MD5OfMessageAttributes for the filter {names}",
        )
    for names in (["SentTimestamp"], ["SenderId", "ApproximateReceiveCount"]):
        got = s.receive_one(url, MessageSystemAttributeNames=names, VisibilityTimeout=0)
        equal(sorted(got["Attributes"]), sorted(names), "system attributes by name")


def unicode(s):
    url = s.create()
    for body in (
        "Grüße, мир, 世界, \U0001f680, e\u0301, \u202e",
        "\t tab \n newline \r return",
        " leading and trailing ",
        '"quotes" \\backslash\\ /slash/ <a href="x">&amp;</a> %41 + {"json": [1]}',
        "first and last allowed: \x20\x7f\x85\ud7ff\ue000\ufffd\U00010000\U0010ffff\u2028\u2029",
    ):
        sent = s.sqs.send_message(QueueUrl=url, MessageBody=body)
        equal(sent["MD5OfMessageBody"], digest.of_body(body), "MD5OfMessageBody")
        got = s.receive_one(url)
        equal(got["Body"], body, "body")
        s.sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])


def large_bodies(s):
    """1 MiB, the largest that SQS takes, counted in bytes of UTF-8. JSON makes
    the second one three times as long on the wire."""
    url = s.create()
    size = 1 << 20
    for body in ("x" * size, "é" * (size // 2)):
        s.sqs.send_message(QueueUrl=url, MessageBody=body)
        got = s.receive_one(url)
        equal(got["Body"] == body, True, "large body is unchanged")
        s.sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])


def long_poll(s):
    url = s.create()
    start = time.monotonic()
    equal(s.receive(url), [], "messages of a short poll on an empty queue")
    at_most(time.monotonic() - start, 1, "seconds of a short poll")
    start = time.monotonic()
    equal(s.receive(url, WaitTimeSeconds=1), [], "messages of a long poll on an empty queue")
    at_least(time.monotonic() - start, 0.95, "seconds of a long poll for 1 s")

    waiting, got = threading.Event(), {}
    s.sqs.meta.events.register("before-send.sqs.ReceiveMessage", lambda **_: waiting.set())

    def receive():
        got["messages"] = s.receive(url, WaitTimeSeconds=10)
        got["at"] = time.monotonic()

    receiver = threading.Thread(target=receive)
    receiver.start()
    waiting.wait(10)
    # The request is about to leave; give it time to arrive and to wait there.
    receiver.join(0.5)
    equal(receiver.is_alive(), True, "the receiver waits")
    sent_at = time.monotonic()
    s.sqs.send_message(QueueUrl=url, MessageBody="wake up")
    receiver.join(15)
    equal([m["Body"] for m in got.get("messages", [])], ["wake up"], "bodies of the long poll")
    at_most(got["at"] - sent_at, 1, "seconds from the send to the end of the long poll")


def visibility(s):
    url = s.create(VisibilityTimeout=60)
    s.sqs.send_message(QueueUrl=url, MessageBody="x")
    count = {"MessageSystemAttributeNames": ["ApproximateReceiveCount"]}

    first = s.receive_one(url, **count)
    equal(first["Attributes"]["ApproximateReceiveCount"], "1", "ApproximateReceiveCount at first")
    equal(s.receive(url), [], "messages while the only one is in flight")
    s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    second = s.receive_one(url, WaitTimeSeconds=0, VisibilityTimeout=1, **count)
    equal(second["Attributes"]["ApproximateReceiveCount"], "2", "ApproximateReceiveCount after a change to 0")
    equal(second["MessageId"], first["MessageId"], "MessageId of the second receive")

    # The timeout of the second receive ends while the third one waits for it.
    start = time.monotonic()
    third = s.receive_one(url, WaitTimeSeconds=10, **count)
    took = time.monotonic() - start
    at_least(took, 0.7, "seconds until a message with a timeout of 1 s came back")
    at_most(took, 3, "seconds until a message with a timeout of 1 s came back")
    equal(third["Attributes"]["ApproximateReceiveCount"], "3", "ApproximateReceiveCount after the timeout")

    # A longer timeout holds it back beyond the shorter one it had.
    s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"], VisibilityTimeout=1)
    s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"], VisibilityTimeout=60)
    equal(s.receive(url, WaitTimeSeconds=2), [], "messages after the timeout was made longer")
    s.sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])


def delay_of_message(s):
    url = s.create()
    start = time.monotonic()
    s.sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=1)
    equal(s.receive(url), [], "messages before the delay is over")
    equal(s.counts(url), (0, 0, 1), "visible, in flight, delayed")
    equal(s.receive_one(url, WaitTimeSeconds=10)["Body"], "late", "body after the delay")
    took = time.monotonic() - start
    at_least(took, 0.95, "seconds until a message with a delay of 1 s came")
    at_most(took, 3, "seconds until a message with a delay of 1 s came")
