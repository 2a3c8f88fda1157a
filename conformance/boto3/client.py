"""What the steps share: a client, checks, and waiting for messages."""

import os
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


class Session:
    """One step's client, and the names of its queues."""

    def __init__(self, name):
        self.name = name
        # One attempt: a retry could hide a fault of the server.
        self.config = Config(retries={"total_max_attempts": 1}, read_timeout=30)
        self.sqs = boto3.client("sqs", config=self.config)
        # boto3 up to 1.28.80 speaks the query protocol.
        self.query = self.sqs.meta.service_model.metadata["protocol"] == "query"

    def with_key(self, key_id, secret):
        return boto3.client("sqs", config=self.config, aws_access_key_id=key_id, aws_secret_access_key=secret)

    def create(self, suffix="", **attributes):
        """Makes a queue of the step and returns its URL."""
        answer = self.sqs.create_queue(
            QueueName=self.name + suffix, Attributes={k: str(v) for k, v in attributes.items()}
        )
        return answer["QueueUrl"]

    def attributes(self, url, *names):
        return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names or ["All"])).get("Attributes", {})

    def counts(self, url):
        """Visible, in flight, delayed."""
        names = ["", "NotVisible", "Delayed"]
        got = self.attributes(url, *("ApproximateNumberOfMessages" + n for n in names))
        return tuple(int(got["ApproximateNumberOfMessages" + n]) for n in names)

    def receive(self, url, **arguments):
        """One receive; the list of messages, empty if there was none."""
        if self.query and "MessageSystemAttributeNames" in arguments:  # it knows the older name only
            arguments["AttributeNames"] = arguments.pop("MessageSystemAttributeNames")
        return self.sqs.receive_message(QueueUrl=url, **arguments).get("Messages", [])

    def receive_one(self, url, **arguments):
        got = self.receive(url, **{"WaitTimeSeconds": 5, **arguments})
        equal(len(got), 1, "number of messages received")
        return got[0]

    def receive_n(self, url, n, **arguments):
        """Receives until n messages are there: a standard queue may answer with fewer than it has."""
        got = []
        deadline = time.monotonic() + 15
        while len(got) < n and time.monotonic() < deadline:
            page = self.receive(url, MaxNumberOfMessages=10, WaitTimeSeconds=1, **arguments)
            at_most(len(page), 10, "messages in one receive")
            got += page
        equal(len(got), n, "number of messages received")
        return got


def endpoint():
    return os.environ["AWS_ENDPOINT_URL_SQS"]


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {shown(got)}, want {shown(want)}")


def at_most(got, limit, what):
    if got > limit:
        raise AssertionError(f"{what}: got {shown(got)}, want at most {shown(limit)}")


def at_least(got, limit, what):
    if got < limit:
        raise AssertionError(f"{what}: got {shown(got)}, want at least {shown(limit)}")


def shown(value):
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}... ({len(text)} characters)"


def fails(call, code, json_code, *statuses, **arguments):
    """Checks that a call is refused. code is the one of the query protocol,
    which boto3 reports from the header x-amzn-query-error or, where it speaks
    that protocol, from the body; json_code is the type in the body of the other."""
    try:
        call(**arguments)
    except ClientError as err:
        got = err.response["Error"]
        what = f"error of {err.operation_name} ({got.get('Message')})"
        equal(got["Code"], code, what)
        if call.__self__.meta.service_model.metadata["protocol"] == "query":
            equal(got.get("Type"), "Sender", what + ", whose fault it is")
        else:
            equal(got.get("QueryErrorCode"), json_code, what + ", type in the body")
        status = err.response["ResponseMetadata"]["HTTPStatusCode"]
        if status not in (statuses or (400,)):
            raise AssertionError(f"{what}: got HTTP status {status}, want one of {statuses or (400,)}") from err
        return
    raise AssertionError(f"{call.__name__} succeeded, want {code}")
