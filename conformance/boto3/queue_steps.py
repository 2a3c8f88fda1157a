"""Steps about queues: their life, attributes, counts, purge and redrive."""

import json
import time
from urllib.parse import urlsplit

from client import at_most, endpoint, equal, fails


def create_queue(s):
    dead = s.create("-dead")
    dead_arn = s.attributes(dead, "QueueArn")["QueueArn"]
    wanted = {
        "VisibilityTimeout": "7",
        "DelaySeconds": "3",
        "MessageRetentionPeriod": "3600",
        "ReceiveMessageWaitTimeSeconds": "2",
        "MaximumMessageSize": "2048",
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 3}),
    }
    url = s.create(**wanted)

    # The URL leads to the server that was asked, and ends in account and name.
    got = urlsplit(url)
    equal((got.scheme, got.netloc), urlsplit(endpoint())[:2], "server in the queue URL")
    _, account, name = got.path.split("/")
    equal((len(account), account.isdigit(), name), (12, True, s.name), "path of the queue URL")

    equal(s.create(**wanted), url, "URL when created again with the same attributes")
    equal(s.create(VisibilityTimeout=7), url, "URL when created again with some of the attributes")
    equal(s.create(), url, "URL when created again without attributes")
    equal(s.sqs.get_queue_url(QueueName=s.name)["QueueUrl"], url, "GetQueueUrl")
    fails(
        s.sqs.create_queue, "QueueAlreadyExists", "QueueNameExists",
        QueueName=s.name, Attributes={**wanted, "VisibilityTimeout": "8"},
    )

    got = s.attributes(url)
    policy = json.loads(got["RedrivePolicy"])
    equal((policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])), (dead_arn, 3), "RedrivePolicy")
    for key, value in wanted.items():
        if key != "RedrivePolicy":
            equal(got[key], value, key)
    arn = got["QueueArn"].split(":")
    equal((arn[:3], arn[4:]), (["arn", "aws", "sqs"], [account, s.name]), "QueueArn without its region")


def list_queues(s):
    # "-a-" keeps a neighbour's name from having the same prefix.
    wanted = sorted(s.create(f"-a-{i}") for i in range(5))
    other = s.create("-b")
    prefix = s.name + "-a-"

    answer = s.sqs.list_queues(QueueNamePrefix=prefix)
    equal(sorted(answer["QueueUrls"]), wanted, "queues with the prefix")
    equal("NextToken" in answer, False, "NextToken without MaxResults")
    everything = s.sqs.list_queues()["QueueUrls"]
    equal(set(wanted + [other]) - set(everything), set(), "queues missing when there is no prefix")
    equal(s.sqs.list_queues(QueueNamePrefix=s.name + "-no").get("QueueUrls", []), [], "queues of an unused prefix")

    got, sizes, token = [], [], {}
    while True:
        page = s.sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2, **token)
        got += page["QueueUrls"]
        sizes.append(len(page["QueueUrls"]))
        if "NextToken" not in page or len(sizes) > 5:
            break
        token = {"NextToken": page["NextToken"]}
    equal((sorted(got), sizes), (wanted, [2, 2, 1]), "queues by pages of two")

    pages = s.sqs.get_paginator("list_queues").paginate(
        QueueNamePrefix=prefix, PaginationConfig={"PageSize": 3}
    )
    equal(sorted(u for page in pages for u in page["QueueUrls"]), wanted, "queues by boto3's paginator")


def queue_attributes(s):
    now = time.time()
    url = s.create()
    got = s.attributes(url)
    defaults = {
        "VisibilityTimeout": "30",
        "DelaySeconds": "0",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "MaximumMessageSize": "1048576",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
    }
    equal({k: got.get(k) for k in defaults}, defaults, "attributes of a new queue")
    equal("RedrivePolicy" in got, False, "RedrivePolicy of a new queue")
    for key in ("CreatedTimestamp", "LastModifiedTimestamp"):
        at_most(abs(int(got[key]) - now), 60, key + " apart from our clock, in seconds")

    equal(s.attributes(url, "DelaySeconds"), {"DelaySeconds": "0"}, "one attribute by name")
    two = {"VisibilityTimeout": "30", "MaximumMessageSize": "1048576"}
    equal(s.attributes(url, *two), two, "two attributes by name")
    equal(s.attributes(url, "RedrivePolicy"), {}, "an attribute that is not set")
    equal(s.sqs.get_queue_attributes(QueueUrl=url).get("Attributes", {}), {}, "attributes when none are asked for")

    changed = {"VisibilityTimeout": "0", "DelaySeconds": "900", "MessageRetentionPeriod": "60",
               "ReceiveMessageWaitTimeSeconds": "20", "MaximumMessageSize": "1024"}
    s.sqs.set_queue_attributes(QueueUrl=url, Attributes=changed)
    equal(s.attributes(url, *changed), changed, "attributes after SetQueueAttributes")
    s.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "1"})
    equal(s.attributes(url, *changed), {**changed, "DelaySeconds": "1"}, "attributes after one was set")

    # A redrive policy is set, and removed by an empty value.
    arn = s.attributes(s.create("-dead"), "QueueArn")["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1000"})
    s.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    got = json.loads(s.attributes(url, "RedrivePolicy")["RedrivePolicy"])
    equal((got["deadLetterTargetArn"], int(got["maxReceiveCount"])), (arn, 1000), "RedrivePolicy")
    s.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    equal(s.attributes(url, "RedrivePolicy"), {}, "RedrivePolicy after it was removed")


def counts(s):
    url = s.create(VisibilityTimeout=60)
    for i in range(5):
        s.sqs.send_message(QueueUrl=url, MessageBody=f"now {i}")
    for i in range(2):
        s.sqs.send_message(QueueUrl=url, MessageBody=f"later {i}", DelaySeconds=600)
    equal(s.counts(url), (5, 0, 2), "visible, in flight, delayed after sending")
    first, second, third = (s.receive_one(url) for _ in range(3))
    equal(s.counts(url), (2, 3, 2), "visible, in flight, delayed after receiving 3")
    s.sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"], VisibilityTimeout=0)
    equal(s.counts(url), (3, 1, 2), "visible, in flight, delayed after deleting 1 and returning 1")
    s.sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])
    equal(s.counts(url), (3, 0, 2), "visible, in flight, delayed in the end")


def delay_of_queue(s):
    url = s.create(DelaySeconds=1, ReceiveMessageWaitTimeSeconds=5)
    s.sqs.send_message(QueueUrl=url, MessageBody="late")
    s.sqs.send_message(QueueUrl=url, MessageBody="at once", DelaySeconds=0)
    equal(s.receive_one(url, WaitTimeSeconds=0)["Body"], "at once", "body that came first")
    # No WaitTimeSeconds: the queue's own wait is what this receive lives by.
    got = s.receive(url)
    equal([m["Body"] for m in got], ["late"], "bodies after the queue's delay")


def purge(s):
    url = s.create()
    for i in range(3):
        s.sqs.send_message(QueueUrl=url, MessageBody=str(i), DelaySeconds=600 if i == 0 else 0)
    s.receive_one(url)
    equal(s.counts(url), (1, 1, 1), "visible, in flight, delayed before the purge")
    s.sqs.purge_queue(QueueUrl=url)
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed after the purge")
    equal(s.receive(url), [], "messages after the purge")
    fails(
        s.sqs.purge_queue, "AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress", 403, QueueUrl=url
    )
    s.sqs.send_message(QueueUrl=url, MessageBody="after")
    equal(s.receive_one(url)["Body"], "after", "body sent after the purge")


def dead_letter(s):
    dead = s.create("-dead")
    arn = s.attributes(dead, "QueueArn")["QueueArn"]
    url = s.create(
        VisibilityTimeout=60, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    )
    source_arn = s.attributes(url, "QueueArn")["QueueArn"]
    sent = s.sqs.send_message(
        QueueUrl=url, MessageBody="poison",
        MessageAttributes={"Kind": {"DataType": "String", "StringValue": "bad"}},
    )
    for i in (1, 2):
        got = s.receive_one(url, MessageSystemAttributeNames=["All"])
        equal(got["Attributes"]["ApproximateReceiveCount"], str(i), "ApproximateReceiveCount in the source")
        equal("DeadLetterQueueSourceArn" in got["Attributes"], False, "DeadLetterQueueSourceArn in the source")
        s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
    equal(s.receive(url), [], "messages in the source after maxReceiveCount receives")
    equal(s.counts(url), (0, 0, 0), "visible, in flight, delayed in the source")

    got = s.receive_one(dead, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])
    equal(got["MessageId"], sent["MessageId"], "MessageId in the dead-letter queue")
    equal(got["Body"], "poison", "body in the dead-letter queue")
    equal(got["MessageAttributes"]["Kind"]["StringValue"], "bad", "attribute in the dead-letter queue")
    equal(got["Attributes"]["DeadLetterQueueSourceArn"], source_arn, "DeadLetterQueueSourceArn")
    # SQS goes on counting: two receives in the source, one here.
    equal(got["Attributes"]["ApproximateReceiveCount"], "3", "ApproximateReceiveCount in the dead-letter queue")
    s.sqs.delete_message(QueueUrl=dead, ReceiptHandle=got["ReceiptHandle"])
    equal(s.counts(dead), (0, 0, 0), "visible, in flight, delayed in the dead-letter queue in the end")


def delete_queue(s):
    url = s.create()
    s.sqs.send_message(QueueUrl=url, MessageBody="lost with its queue")
    s.sqs.delete_queue(QueueUrl=url)
    gone = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
    fails(s.sqs.get_queue_url, *gone, QueueName=s.name)
    fails(s.sqs.send_message, *gone, QueueUrl=url, MessageBody="x")
    fails(s.sqs.receive_message, *gone, QueueUrl=url)
    equal(s.sqs.list_queues(QueueNamePrefix=s.name).get("QueueUrls", []), [], "queues left")
