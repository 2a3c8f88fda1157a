'use strict';

// The shapes of handlers in AWS Lambda's manual.

exports.handler = async function (event, context) {
  return { statusCode: 200, body: event };
};
exports.arrow = async (event) => event;
exports.promise = (event, context) => new Promise((resolve) => setTimeout(() => resolve(event), 1));
exports.callback = function (event, context, callback) {
  context.callbackWaitsForEmptyEventLoop = false;
  setTimeout(() => callback(null, event), 1);
};
// With a callback, what a handler returns that is no promise does not count.
exports.both = (event, context, callback) => {
  setTimeout(() => callback(null, event), 1);
  return 'not this';
};
exports.asyncCallback = async (event, context, callback) => {
  callback(null, event);
};
exports.callbackError = (event, context, callback) => callback(new TypeError('called back'));
exports.callbackText = (event, context, callback) => callback('just a text');
exports.handlers = { create: async (event) => ({ created: event }) };
exports.environment = async () => [
  process.env._HANDLER,
  process.env.LAMBDA_TASK_ROOT === process.cwd(),
  process.env.LAMBDA_TASK_ROOT === __dirname,
];
exports.context = async (event, context) => [
  context.functionName,
  context.functionVersion,
  context.memoryLimitInMB,
  context.awsRequestId,
  context.invokedFunctionArn,
  context.logGroupName,
  context.logStreamName,
  context.identity === undefined,
  context.clientContext === undefined,
  context.getRemainingTimeInMillis() > 0,
];
