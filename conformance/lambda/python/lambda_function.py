"""Handlers for AWS Lambda's runtime interface client, and for Runnel's worker."""

import json
import os
from decimal import Decimal


def lambda_handler(event, context):
    return {"statusCode": 200, "body": json.dumps(event), "remaining": context.get_remaining_time_in_millis() > 0}


def echo(event, context):
    return event


def decimals(event, context):
    return {"price": Decimal("12.50"), "count": Decimal("12345678901234567890")}


def raises(event, context):
    raise KeyError(event["key"])


def environment(event, context):
    return [os.environ["_HANDLER"], bool(os.environ["LAMBDA_TASK_ROOT"]), context.identity.cognito_identity_id, context.client_context]
