import functools
import json
import os

import boto3

# Nothing here knows of Runnel: region, address and key are in the environment.
sqs = boto3.client("sqs")


@functools.cache
def queue():  # at the first call: functions are deployed before queues are made
    return sqs.get_queue_url(QueueName=os.environ["QUEUE"])["QueueUrl"]


def handler(order):
    """Publishes a message for each parcel of an order, and returns a receipt."""
    for item in order["items"]:
        sqs.send_message(QueueUrl=queue(), MessageBody=json.dumps({"order": order["id"], "item": item}))
    return {"order": order["id"], "parcels": len(order["items"])}
