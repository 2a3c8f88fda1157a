"""Steps about batches."""

import digest
from client import equal, fails


def _failed(answer):
    return [(f["Id"], f["Code"], f["SenderFault"]) for f in answer.get("Failed", [])]


def send_batch(s):
    """Two entries of ten fail, each for itself, and the other eight arrive."""
    url = s.create(MaximumMessageSize=1024)
    attributes = {"N": {"DataType": "Number", "StringValue": "1"}}
    entries = [{"Id": f"e-{i}", "MessageBody": f"body {i}"} for i in range(10)]
    entries[2]["MessageAttributes"] = attributes
    entries[4]["MessageBody"] = "x" * 1025
    entries[7]["MessageBody"] = "bad \x01 character"
    entries[9]["DelaySeconds"] = 600
    answer = s.sqs.send_message_batch(QueueUrl=url, Entries=entries)

    equal(
        sorted(_failed(answer)),
        [("e-4", "InvalidParameterValue", True), ("e-7", "InvalidMessageContents", True)],
        "failed entries",
    )
    good = {e["Id"]: e for e in entries if e["Id"] not in ("e-4", "e-7")}
    sent = {e["Id"]: e for e in answer["Successful"]}
    equal(sorted(sent), sorted(good), "successful entries")
    for key, entry in sent.items():
        equal(entry["MD5OfMessageBody"], digest.of_body(good[key]["MessageBody"]), "MD5OfMessageBody of " + key)
    equal(sent["e-2"]["MD5OfMessageAttributes"], digest.of_attributes(attributes), "MD5OfMessageAttributes of e-2")
    equal("MD5OfMessageAttributes" in sent["e-3"], False, "MD5OfMessageAttributes of e-3")

    equal(s.counts(url), (7, 0, 1), "visible, in flight, delayed")
    got = s.receive_n(url, 7)
    equal(
        {m["MessageId"]: m["Body"] for m in got},
        {sent[k]["MessageId"]: e["MessageBody"] for k, e in good.items() if k != "e-9"},
        "bodies by MessageId",
    )


def receive_and_delete_batch(s):
    url = s.create()
    for size in (10, 8):
        entries = [{"Id": str(i), "MessageBody": f"{i} of {size}"} for i in range(size)]
        s.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    equal(s.counts(url), (18, 0, 0), "visible, in flight, delayed")
    equal(len(s.receive(url, VisibilityTimeout=0)), 1, "messages of a receive that names no number")
    got = s.receive_n(url, 18)
    equal(len({m["MessageId"] for m in got}), 18, "different messages received")
    equal(len({m["ReceiptHandle"] for m in got}), 18, "different receipt handles")

    entries = [{"Id": f"d{i}", "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)]
    entries.insert(3, {"Id": "garbage", "ReceiptHandle": "not a receipt handle"})
    answer = s.sqs.delete_message_batch(QueueUrl=url, Entries=entries[:10])
    equal(_failed(answer), [("garbage", "ReceiptHandleIsInvalid", True)], "failed entries")
    equal(
        sorted(e["Id"] for e in answer["Successful"]),
        sorted(e["Id"] for e in entries[:10] if e["Id"] != "garbage"),
        "successful entries",
    )
    answer = s.sqs.delete_message_batch(QueueUrl=url, Entries=entries[10:])
    equal((len(answer["Successful"]), _failed(answer)), (9, []), "successful and failed entries")
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed in the end")


def change_visibility_batch(s):
    url = s.create(VisibilityTimeout=60)
    s.sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": str(i)} for i in range(3)])
    got = s.receive_n(url, 3)
    entries = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0} for m in got]
    held = entries[0]
    held["VisibilityTimeout"] = 120
    entries.append({"Id": "garbage", "ReceiptHandle": "not a receipt handle", "VisibilityTimeout": 0})
    answer = s.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    equal(_failed(answer), [("garbage", "ReceiptHandleIsInvalid", True)], "failed entries")
    equal(sorted(e["Id"] for e in answer["Successful"]), ["0", "1", "2"], "successful entries")
    equal(s.counts(url), (2, 1, 0), "visible, in flight, delayed")
    again = s.receive_n(url, 2, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    equal(sorted(m["Body"] for m in again), sorted({"0", "1", "2"} - {held["Id"]}), "bodies that came back")
    equal([m["Attributes"]["ApproximateReceiveCount"] for m in again], ["2", "2"], "ApproximateReceiveCount")


def batch_errors(s):
    """What makes a whole batch fail, of each of the three kinds."""
    url = s.create()
    kinds = [
        (s.sqs.send_message_batch, {"MessageBody": "x"}),
        (s.sqs.delete_message_batch, {"ReceiptHandle": "x"}),
        (s.sqs.change_message_visibility_batch, {"ReceiptHandle": "x", "VisibilityTimeout": 1}),
    ]
    for call, entry in kinds:
        for code, ids in [
            ("EmptyBatchRequest", []),
            ("TooManyEntriesInBatchRequest", [str(i) for i in range(11)]),
            ("BatchEntryIdsNotDistinct", ["a", "b", "a"]),
            ("InvalidBatchEntryId", ["a", "b c"]),
            ("InvalidBatchEntryId", ["a", "b" * 81]),
            ("InvalidBatchEntryId", ["a", ""]),
        ]:
            fails(
                call, "AWS.SimpleQueueService." + code, code, QueueUrl=url, Entries=[{"Id": i, **entry} for i in ids]
            )
    # The sum of the bodies, 1 MiB and one byte, is too long; no entry is.
    size = 1 << 19
    entries = [{"Id": "a", "MessageBody": "x" * size}, {"Id": "b", "MessageBody": "x" * (size + 1)}]
    fails(
        s.sqs.send_message_batch, "AWS.SimpleQueueService.BatchRequestTooLong", "BatchRequestTooLong",
        QueueUrl=url, Entries=entries,
    )
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed")
    entries[1]["MessageBody"] = "x" * size
    answer = s.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    equal((len(answer["Successful"]), _failed(answer)), (2, []), "successful and failed entries of exactly 1 MiB")
