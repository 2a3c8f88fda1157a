"""What a handler learns of its call."""

import time


def everything(event, context):
    return {
        "message_id": context.message_id,
        "attempt": context.attempt,
        "invocation_id": context.invocation_id,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "flow": context.flow,
        "key": context.key,
        "attributes": context.attributes,
        "trace": context.trace,
        "deadline": context.deadline,
        "remaining": 0 < context.remaining_time <= context.deadline - time.time() + 1,
        "millis": 0 < context.get_remaining_time_in_millis() <= context.remaining_time * 1000 + 1000,
        "aws_request_id": context.aws_request_id,
        "memory": context.memory_limit_in_mb,
        "arn": context.invoked_function_arn,
        "log_group_name": context.log_group_name,
        "log_stream_name": context.log_stream_name,
        "messages": len(context.messages),
    }


def empty(event, context):
    return [context.message_id, context.attempt, context.key, context.attributes, context.trace, context.flow]
