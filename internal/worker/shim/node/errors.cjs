'use strict';

// Errors of user code as the JSON that a worker sends.

const path = require('node:path');

// The most of a stack, and of a message, that is sent, in bytes.
const MAX_STACK = 16 << 10;
const MAX_NAME = 256;
const MAX_CAUSES = 8;

/** The message can never succeed: it becomes a dead letter at once. */
class Reject extends Error {
  constructor(reason) {
    super(reason);
    this.name = 'Reject';
  }
}

/** The message is to be tried again, not before so many seconds. */
class RetryAfter extends Error {
  constructor(seconds, reason) {
    if (!isDelay(seconds)) {
      throw new RangeError(`RetryAfter wants a number of seconds from 0, not ${String(seconds)}`);
    }
    super(reason || `try again after ${seconds} s`);
    this.name = 'RetryAfter';
    this.after = seconds;
  }
}

/** The handler's value cannot be sent. */
class OutputError extends Error {}

/** The payload is not what the frame says; not the handler's fault. */
class InputError extends Error {}

/** The call ended before its handler was called for this payload. */
class CancelledError extends Error {
  constructor() {
    super('the call was cancelled: nobody waits for it');
    this.name = 'CancelledError';
    this.stack = '';
  }
}

function isDelay(seconds) {
  return typeof seconds === 'number' && seconds >= 0 && seconds < Infinity;
}

/** Returns the JSON of whatever was thrown, as a Buffer. It does not throw. */
function describe(thrown) {
  try {
    return Buffer.from(JSON.stringify(toPlain(thrown)));
  } catch (second) {
    return Buffer.from('{"kind":"error","name":"Error","message":"the error cannot be shown","stack":""}');
  }
}

function toPlain(thrown) {
  if (thrown instanceof OutputError) {
    return { kind: 'output', name: 'OutputError', message: clip(thrown.message, MAX_STACK), stack: '' };
  }
  if (thrown instanceof InputError) {
    return { kind: 'undecodable', name: 'InputError', message: clip(thrown.message, MAX_STACK), stack: '' };
  }
  if (!isError(thrown)) {
    return { kind: 'error', name: typeof thrown, message: clip(show(thrown), MAX_STACK), stack: '' };
  }
  const out = {
    kind: 'error',
    name: clip(nameOf(thrown), MAX_NAME),
    message: clip(String(thrown.message), MAX_STACK),
    stack: clip(stackOf(thrown, 0), MAX_STACK),
  };
  if (is(thrown, 'Reject')) {
    out.kind = 'rejected';
  } else if (is(thrown, 'RetryAfter') && isDelay(thrown.after)) {
    out.kind = 'retry';
    out.after = thrown.after;
  } else if (thrown.code === 'ERR_MEMORY_ALLOCATION_FAILED' || out.message === 'Array buffer allocation failed') {
    out.kind = 'out_of_memory';
  }
  return out;
}

function isError(thrown) {
  // Not only instanceof: an error of another realm (node:vm) is one too.
  return thrown instanceof Error || Object.prototype.toString.call(thrown) === '[object Error]';
}

function is(error, name) {
  return error.name === name || (error.constructor !== undefined && error.constructor.name === name);
}

function nameOf(error) {
  if (typeof error.name === 'string' && error.name !== '' && error.name !== 'Error') return error.name;
  return (error.constructor && error.constructor.name) || 'Error';
}

function show(thrown) {
  if (typeof thrown !== 'object' || thrown === null) return String(thrown);
  try {
    return JSON.stringify(thrown);
  } catch {
    return Object.prototype.toString.call(thrown);
  }
}

// The stack with its causes, without the frames of the worker and of Node.
function stackOf(error, depth) {
  const own = typeof error.stack === 'string' ? error.stack : `${nameOf(error)}: ${error.message}`;
  let text = own.split('\n').filter(isUsers).join('\n');
  if (depth >= MAX_CAUSES) return text;
  if (isError(error.cause)) {
    text += '\nCaused by: ' + stackOf(error.cause, depth + 1);
  } else if (error.cause !== undefined) {
    text += '\nCaused by: ' + show(error.cause);
  }
  if (Array.isArray(error.errors)) {
    for (const one of error.errors.slice(0, MAX_CAUSES)) {
      text += '\nOne of: ' + (isError(one) ? stackOf(one, depth + 1) : show(one));
    }
  }
  return text;
}

function isUsers(line) {
  if (!line.startsWith('    at ')) return true;
  return !line.includes(__dirname + path.sep) && !/[ (]node:internal\//.test(line);
}

// Keeps the begin, where JavaScript's stacks have the error, and some of the end.
function clip(text, limit) {
  if (text.length <= limit / 4) return text;
  const raw = Buffer.from(text);
  if (raw.length <= limit) return text;
  const room = limit - 64;
  const tail = room >> 2;
  // A character that is cut becomes a replacement character, which may be longer: drop it.
  const head = raw.toString('utf8', 0, room - tail).replace(/\ufffd$/, '');
  const end = raw.toString('utf8', raw.length - tail).replace(/^\ufffd+/, '');
  return `${head}\n[... ${raw.length - room} bytes left out ...]\n${end}`;
}

/** Says where in value something is that is not JSON; null if no such place is found. */
function place(value) {
  const open = new Set();
  const visit = (one, at) => {
    const where = at === '' ? 'the value itself' : `at ${at.replace(/^\./, '')}`;
    if (typeof one === 'bigint') return `a BigInt is not JSON (${where})`;
    if (typeof one !== 'object' || one === null || typeof one.toJSON === 'function') return null;
    if (open.has(one)) return `an object that contains itself is not JSON (${where})`;
    if (open.size > 500) return 'it is nested too deeply';
    open.add(one);
    for (const key of Object.keys(one)) {
      const found = visit(one[key], Array.isArray(one) ? `${at}[${key}]` : `${at}.${clip(key, 64)}`);
      if (found) return found;
    }
    open.delete(one);
    return null;
  };
  try {
    return visit(value, '');
  } catch {
    return null; // a getter of the value throws
  }
}

module.exports = { Reject, RetryAfter, OutputError, InputError, CancelledError, describe, isError, place };
