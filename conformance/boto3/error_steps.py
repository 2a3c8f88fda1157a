"""Steps about calls that are refused, each with the exact code."""

import os

from botocore.exceptions import ClientError

from client import equal, fails

NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
BAD_VALUE = ("InvalidParameterValue", "InvalidParameterValueException")
BAD_HANDLE = ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 400, 404)


def queue_errors(s):
    url = s.create()
    nowhere = url + "-nowhere"
    fails(s.sqs.get_queue_url, *NO_QUEUE, QueueName=s.name + "-nowhere")
    fails(s.sqs.get_queue_attributes, *NO_QUEUE, QueueUrl=nowhere, AttributeNames=["All"])
    fails(s.sqs.set_queue_attributes, *NO_QUEUE, QueueUrl=nowhere, Attributes={"DelaySeconds": "1"})
    fails(s.sqs.send_message, *NO_QUEUE, QueueUrl=nowhere, MessageBody="x")
    fails(s.sqs.send_message_batch, *NO_QUEUE, QueueUrl=nowhere, Entries=[{"Id": "a", "MessageBody": "x"}])
    fails(s.sqs.receive_message, *NO_QUEUE, QueueUrl=nowhere)
    fails(s.sqs.purge_queue, *NO_QUEUE, QueueUrl=nowhere)
    fails(s.sqs.delete_queue, *NO_QUEUE, QueueUrl=nowhere)
    try:
        s.sqs.get_queue_url(QueueName=s.name + "-nowhere")
    except s.sqs.exceptions.QueueDoesNotExist:
        pass  # boto3 has a class for it, which it finds by the type in the body

    for name in ("no spaces", "no:colon", "x" * 81):
        fails(s.sqs.create_queue, *BAD_VALUE, QueueName=name)
    code = ("InvalidAttributeValue", "InvalidAttributeValue")
    for key, value in [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "-1"),
        ("VisibilityTimeout", "soon"),
        ("DelaySeconds", "901"),
        ("MessageRetentionPeriod", "59"),
        ("MessageRetentionPeriod", "1209601"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
    ]:
        fails(s.sqs.create_queue, *code, QueueName=s.name + "-bad", Attributes={key: value})
        fails(s.sqs.set_queue_attributes, *code, QueueUrl=url, Attributes={key: value})
    code = ("InvalidAttributeName", "InvalidAttributeName")
    fails(s.sqs.create_queue, *code, QueueName=s.name + "-bad", Attributes={"Colour": "red"})
    fails(s.sqs.set_queue_attributes, *code, QueueUrl=url, Attributes={"Colour": "red"})
    fails(s.sqs.get_queue_attributes, *code, QueueUrl=url, AttributeNames=["Colour"])
    equal(s.sqs.list_queues(QueueNamePrefix=s.name)["QueueUrls"], [url], "queues that were made")


def send_errors(s):
    url = s.create(MaximumMessageSize=1024)
    code = ("InvalidMessageContents", "InvalidMessageContents")
    for bad in ("\x00", "\x01", "\x0b", "\x1f", "\ufffe", "\uffff"):
        fails(s.sqs.send_message, *code, QueueUrl=url, MessageBody="bad " + bad)
    fails(s.sqs.send_message, "MissingParameter", "MissingRequiredParameterException", QueueUrl=url, MessageBody="")
    for value in (901, -1):
        fails(s.sqs.send_message, *BAD_VALUE, QueueUrl=url, MessageBody="x", DelaySeconds=value)

    # The queue's maximum is of body and attributes together.
    attribute = {"Key": {"DataType": "String", "StringValue": "v" * 15}}  # 3 + 6 + 15 = 24 bytes
    fails(s.sqs.send_message, *BAD_VALUE, QueueUrl=url, MessageBody="x" * 1025)
    fails(s.sqs.send_message, *BAD_VALUE, QueueUrl=url, MessageBody="é" * 513)
    fails(s.sqs.send_message, *BAD_VALUE, QueueUrl=url, MessageBody="x" * 1001, MessageAttributes=attribute)
    s.sqs.send_message(QueueUrl=url, MessageBody="x" * 1000, MessageAttributes=attribute)
    s.sqs.send_message(QueueUrl=url, MessageBody="x" * 1024)
    largest = s.create("-largest")
    fails(s.sqs.send_message, *BAD_VALUE, QueueUrl=largest, MessageBody="x" * (1 << 20) + "x")

    for attributes in (
        {"Key": {"DataType": "String", "StringValue": ""}},
        {"Key": {"DataType": "Text", "StringValue": "x"}},
        {"Key": {"DataType": "Number", "StringValue": "twelve"}},
        {"AWS.Key": {"DataType": "String", "StringValue": "x"}},
        {"Key..x": {"DataType": "String", "StringValue": "x"}},
        {f"Key{i}": {"DataType": "String", "StringValue": "x"} for i in range(11)},
    ):
        fails(s.sqs.send_message, *BAD_VALUE, QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    equal(s.counts(url), (2, 0, 0), "visible, in flight, delayed")


def receive_errors(s):
    url = s.create()
    for arguments in (
        {"MaxNumberOfMessages": 0},
        {"MaxNumberOfMessages": 11},
        {"WaitTimeSeconds": 21},
        {"WaitTimeSeconds": -1},
        {"VisibilityTimeout": 43201},
        {"VisibilityTimeout": -1},
    ):
        fails(s.sqs.receive_message, *BAD_VALUE, QueueUrl=url, **arguments)
    garbage = {"QueueUrl": url, "ReceiptHandle": "not a receipt handle"}
    fails(s.sqs.delete_message, *BAD_HANDLE, **garbage)
    fails(s.sqs.change_message_visibility, *BAD_HANDLE, VisibilityTimeout=1, **garbage)
    s.sqs.send_message(QueueUrl=url, MessageBody="x")
    handle = s.receive_one(url)["ReceiptHandle"]
    for value in (43201, -1):
        fails(
            s.sqs.change_message_visibility, *BAD_VALUE, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=value
        )


def signature_errors(s):
    key_id, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    s.with_key(key_id, secret).list_queues()
    # SQS has told the code in either of its two protocols' words over the years.
    for client, codes in [
        (s.with_key(key_id, secret[::-1]), ("SignatureDoesNotMatch", "InvalidSignatureException")),
        (s.with_key(key_id, secret + "x"), ("SignatureDoesNotMatch", "InvalidSignatureException")),
        (s.with_key("AKIAUNKNOWNUNKNOWN00", secret), ("InvalidClientTokenId", "UnrecognizedClientException")),
    ]:
        try:
            client.list_queues()
        except ClientError as err:
            got = err.response["Error"]["Code"]
            equal(got if got not in codes else codes, codes, "code of a bad signature or key")
            equal(err.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403), True, "HTTP status is 400 or 403")
        else:
            raise AssertionError(f"a bad signature or key was taken, want one of {codes}")
