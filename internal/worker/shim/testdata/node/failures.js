'use strict';

// How a handler can fail.

function inner(event) {
  throw new RangeError(`bad event: ${JSON.stringify(event)}`);
}

exports.fail = (event) => inner(event);
exports.failLater = async (event) => {
  await null;
  inner(event);
};
exports.failCallback = (event, context, callback) => callback(new RangeError('called back'));
exports.chained = (event) => {
  try {
    inner(event);
  } catch (error) {
    throw new Error('it failed', { cause: error });
  }
};
exports.only = (event) => {
  if (event === 2) throw new TypeError('two');
  return event;
};
exports.recursive = function recursive(event) {
  return recursive(event) + 1;
};
exports.large = () => {
  throw new Error('x'.repeat(100000));
};
exports.string = () => {
  throw 'just text';
};
exports.object = () => {
  throw { code: 7 };
};
exports.undefined = () => Promise.reject();
exports.reject = () => {
  throw new runnel.Reject('no such customer');
};
exports.rejectContext = (event, context) => {
  throw context.reject('no such customer');
};
exports.retry = async (event, context) => {
  throw context.retry(2.5, 'busy');
};
class RetryAfter extends Error {
  constructor(after) {
    super('own class');
    this.after = after;
  }
}
exports.retryOwn = () => {
  throw new RetryAfter(3);
};
exports.retryBadly = () => {
  throw new runnel.RetryAfter(-1);
};
exports.memory = () => Buffer.alloc(2 ** 31).length + new ArrayBuffer(2 ** 52).byteLength;
exports.returned = () => new TypeError('returned');
exports.dangling = (event) => {
  if (event === 2) Promise.reject(new RangeError('nobody looks'));
  return event;
};
exports.danglingLater = async (event) => {
  if (event === 2) (async () => inner(event))();
  await new Promise((resolve) => setTimeout(resolve, 5));
  return event;
};
exports.after = (event) => {
  setTimeout(() => Promise.reject(new RangeError('between calls')), 20);
  return event;
};
exports.exit = () => process.exit(5);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The second item fails at once, and its handler ends while the third runs.
exports.danglingTwice = async (event) => {
  if (event === 2) Promise.reject(new RangeError('two'));
  if (event === 3) {
    await pause(40);
    Promise.reject(new RangeError('three'));
  }
  await pause(10);
  return event;
};
