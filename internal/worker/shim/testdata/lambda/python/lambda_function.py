"""The shapes of handlers in AWS Lambda's manual."""

import datetime
import decimal
import json
import logging
import os

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def lambda_handler(event, context):
    logger.info("event %s", event)
    return {"statusCode": 200, "body": json.dumps(event)}


def numbers(event, context):
    return [decimal.Decimal(event), {"d": decimal.Decimal("12345678901234567890")}]


def strange(event, context):
    return {"when": datetime.datetime(2020, 1, 2)}


def raises(event, context):
    raise KeyError("no key")


def environment(event, context):
    return [os.environ["_HANDLER"], os.environ["LAMBDA_TASK_ROOT"] == os.getcwd()]


def context_of(event, context):
    return [
        context.function_name,
        context.function_version,
        context.memory_limit_in_mb,
        context.aws_request_id,
        context.invoked_function_arn,
        context.log_group_name,
        context.log_stream_name,
        context.identity.cognito_identity_id,
        context.client_context,
        context.tenant_id,
        context.w3c(),
        context.get_remaining_time_in_millis() > 0,
    ]
