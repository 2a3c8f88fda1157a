'use strict';

// What a handler learns of its call.

exports.everything = (event, context) => ({
  message_id: context.messageId,
  attempt: context.attempt,
  invocation_id: context.invocationId,
  function_name: context.functionName,
  function_version: context.functionVersion,
  flow: context.flow,
  key: context.key,
  attributes: context.attributes,
  trace: context.trace,
  deadline: context.deadline,
  remaining: context.remainingTime > 0 && context.remainingTime <= context.deadline - Date.now() / 1000 + 1,
  millis: context.getRemainingTimeInMillis() > 0,
  aws_request_id: context.awsRequestId,
  memory: context.memoryLimitInMB,
  arn: context.invokedFunctionArn,
  log_group_name: context.logGroupName,
  log_stream_name: context.logStreamName,
  messages: context.messages.length,
});

exports.empty = (event, context) => [
  context.messageId, context.attempt, context.key, context.attributes, context.trace, context.flow,
];
