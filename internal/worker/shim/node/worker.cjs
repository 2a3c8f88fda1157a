'use strict';

// Makes a JavaScript file a worker of Runnel.
//
// Frames come in on file descriptor 3 and go out on 4;
// docs/adr/0008-worker-frames.md says what they are, docs/handlers.md what a
// handler can do. Node itself keeps the two from subprocesses.

const fs = require('node:fs');
const net = require('node:net');
const { Reject, RetryAfter, OutputError, InputError, CancelledError } = require('./errors.cjs');
const { describe, isError, place } = require('./errors.cjs');
const { Meta, Context } = require('./context.cjs');
const { load, LoadError } = require('./load.cjs');

// The longest line of a frame, and the longest text of a log frame, in bytes.
const MAX_LINE = 64 << 10;
const MAX_LOG = 64 << 10;

const NEWLINE = 10;

// Opened now: user code may close their descriptors.
const { stdout, stderr } = process;

let handler = null;
let loading = false;
let takesCallback = false;
let draining = false;
const calls = new Map(); // those that are running, by id
let current = null; // the call that is running, where there is one at a time
let attribution = null; // says whose call something is, where there are several

// Frames in. One reader owns what has arrived and is not yet a whole frame.

const arrival = Buffer.allocUnsafe(MAX_LINE);
let rest = null; // whole chunks of a frame that is not complete, joined
let restLength = 0;
let wanted = 0; // the length that rest must have before it is looked at again

function onData(length) {
  let data;
  if (rest === null) {
    data = arrival.subarray(0, length);
  } else {
    keep(length);
    if (restLength < wanted) return true;
    data = rest.subarray(0, restLength);
    rest = null;
  }
  let start = 0;
  while (start < data.length) {
    const used = takeFrame(data, start);
    if (used === 0) break;
    start += used;
  }
  if (start < data.length) {
    const left = data.subarray(start);
    rest = Buffer.allocUnsafe(Math.max(wanted, left.length + MAX_LINE));
    left.copy(rest);
    restLength = left.length;
  }
  return true;
}

function keep(length) {
  if (restLength + length > rest.length) {
    const larger = Buffer.allocUnsafe(Math.max(wanted, 2 * (restLength + length)));
    rest.copy(larger, 0, 0, restLength);
    rest = larger;
  }
  arrival.copy(rest, restLength, 0, length);
  restLength += length;
}

// Takes one frame and returns its length; 0 if it is not complete.
function takeFrame(data, from) {
  const end = data.indexOf(NEWLINE, from);
  if (end < 0) {
    if (data.length - from > MAX_LINE) fatal('a line of a frame is longer than 64 KiB');
    wanted = data.length - from + 1;
    return 0;
  }
  const words = data.latin1Slice(from, end).split(' ');
  switch (words[0]) {
    case 'invoke': {
      const lengths = words.slice(7).map(Number);
      let total = Number(words[5]);
      for (const length of lengths) total += length;
      const body = end + 1;
      if (data.length - body < total) {
        wanted = data.length - from + (total - (data.length - body));
        return 0;
      }
      // A copy: what arrives next overwrites the buffer, perhaps during the call.
      invoke(words, lengths, Buffer.from(data.subarray(body, body + total)));
      return body + total - from;
    }
    case 'start':
      start(Number(words[1] || 1));
      break;
    case 'drain':
      drain();
      break;
    case 'cancel':
      cancel(words[1]);
      break;
    default:
      fatal(`unknown frame ${JSON.stringify(words[0].slice(0, 64))}`);
  }
  return end + 1 - from;
}

function fatal(why) {
  process.stderr.write(`runnel: ${why}\n`);
  process.exit(1);
}

// Frames out.

function send(frame) {
  let done = 0;
  while (done < frame.length) {
    try {
      done += fs.writeSync(4, frame, done, frame.length - done);
    } catch (error) {
      if (error.code === 'EPIPE') process.exit(0); // the server is gone
      if (error.code !== 'EAGAIN') throw error;
      // A pipe that does not block and is full: wait a millisecond.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

function sendLog(id, level, text) {
  const raw = Buffer.from(text).subarray(0, MAX_LOG);
  // What outlives its call has no call.
  send(Buffer.concat([Buffer.from(`log ${calls.has(id) ? id : '-'} ${level} ${raw.length}\n`), raw]));
}

// Waits until the kernel has what was printed. A pipe is written at once on
// Linux unless it is full.
async function flush() {
  for (const stream of [stdout, stderr]) {
    if (stream.writableLength > 0 && !stream.destroyed) {
      await new Promise((resolve) => stream.write('', () => resolve()));
    }
  }
}

// Calls.

async function start(most) {
  loading = true;
  if (most > 1) {
    const { Attribution } = require('./attribution.cjs');
    attribution = new Attribution({ stdout, stderr }, send);
  }
  try {
    const name = process.env.RUNNEL_HANDLER || 'index.handler';
    process.env._HANDLER = process.env._HANDLER || name;
    process.env.LAMBDA_TASK_ROOT = process.env.LAMBDA_TASK_ROOT || process.cwd();
    handler = await load(name);
  } catch (error) {
    return failed(error);
  }
  // As in run: what was rejected while the code loaded still belongs to that.
  setImmediate(() => {
    loading = false;
    takesCallback = handler.length >= 3;
    send(Buffer.from('ready\n'));
  });
}

async function failed(error) {
  const raw = describe(error);
  await flush();
  send(Buffer.concat([Buffer.from(`failed ${raw.length}\n`), raw]));
  process.exit(1);
}

function drain() {
  draining = true;
  if (calls.size === 0) end();
}

// Nobody waits for the call. Its handler may look at context.signal.
function cancel(id) {
  const meta = calls.get(id);
  if (meta === undefined) return;
  if (attribution === null) meta.cancel();
  else attribution.inside(meta, () => meta.cancel());
}

async function end() {
  await flush();
  process.exit(0);
}

async function invoke(words, lengths, body) {
  const id = words[1];
  const format = words[4];
  let at = Number(words[5]);
  const meta = new Meta(id, Number(words[2]), body.subarray(0, at), sendLog);
  const payloads = lengths.map((length) => body.subarray(at, (at += length)));
  calls.set(id, meta);
  let answer;
  if (attribution !== null) {
    answer = await attribution.within(meta, () => answerCall(meta, words[3], format, payloads));
  } else {
    current = meta;
    answer = await answerCall(meta, words[3], format, payloads);
  }
  if (stdout.writableLength > 0 || stderr.writableLength > 0) await flush();
  current = null;
  calls.delete(id);
  send(answer);
  if (draining && calls.size === 0) end();
}

async function answerCall(meta, mode, format, payloads) {
  if (mode === 'list') return answerList(meta, format, payloads);
  const answers = new Array(payloads.length);
  for (let i = 0; i < payloads.length; i++) answers[i] = await answerOne(meta, format, payloads[i], i);
  return result(meta.id, answers);
}

async function answerOne(meta, format, payload, index) {
  try {
    if (attribution !== null && meta.cancelled) throw new CancelledError();
    const value = await run(meta, decode(payload, format), new Context(meta, index, 1));
    return encode(value, format);
  } catch (error) {
    return { kind: 'error', text: null, raw: describe(error) };
  }
}

async function answerList(meta, format, payloads) {
  const count = payloads.length;
  let value;
  try {
    const event = payloads.map((payload) => decode(payload, format));
    value = await run(meta, event, new Context(meta, 0, count));
    if (!Array.isArray(value)) {
      const what = value === null ? 'null' : typeof value;
      throw new OutputError(`the handler returned ${what} for a list of ${count}: want a list of as many`);
    }
    if (value.length !== count) {
      throw new OutputError(`the handler returned a list of ${value.length} for a list of ${count}`);
    }
  } catch (error) {
    const raw = describe(error);
    return Buffer.concat([Buffer.from(`error ${meta.id} ${raw.length}\n`), raw]);
  }
  const answers = Array.from(value, (one) => {
    try {
      return encode(one, format);
    } catch (error) {
      return { kind: 'error', text: null, raw: describe(error) };
    }
  });
  return result(meta.id, answers);
}

// Calls the handler. The promise ends after the event loop went round once, so
// that a rejection that nobody handles still belongs to this item.
function run(meta, event, context) {
  return new Promise((resolve, reject) => {
    meta.fail = reject;
    const settle = (how, value) =>
      setImmediate(() => {
        if (meta.fail === reject) meta.fail = null; // else the next item is running
        how(value);
      });
    const succeed = (value) => settle(resolve, { value });
    const fail = (error) => settle(reject, error);
    try {
      const value = takesCallback
        ? handler(event, context, (error, result) => (error != null ? fail(error) : succeed(result)))
        : handler(event, context);
      if (value !== null && typeof value === 'object' && typeof value.then === 'function') {
        value.then(succeed, fail);
      } else if (!takesCallback) {
        succeed(value);
      }
    } catch (error) {
      fail(error);
    }
  }).then((box) => box.value);
}

process.on('unhandledRejection', (reason) => {
  const meta = attribution === null ? current : attribution.current();
  if (meta && meta.fail !== null) {
    const fail = meta.fail;
    meta.fail = null;
    fail(reason);
  } else if (loading) {
    failed(reason);
  } else {
    throw reason; // between calls: a crash, as without a worker
  }
});

function decode(payload, format) {
  if (format === 'bytes') return payload;
  const text = payload.toString();
  if (format === 'text') return text;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`the payload is not JSON: ${error.message}`);
  }
}

// Returns the kind of a handler's value, and its text or its bytes.
function encode(value, format) {
  if (value === undefined || value === null) return { kind: 'none', text: '', raw: null };
  if (typeof value === 'object') {
    if (ArrayBuffer.isView(value)) {
      return { kind: 'bytes', text: null, raw: Buffer.from(value.buffer, value.byteOffset, value.byteLength) };
    }
    if (value instanceof ArrayBuffer) return { kind: 'bytes', text: null, raw: Buffer.from(value) };
    if (isError(value)) throw value;
  } else if (typeof value === 'string' && format === 'text') {
    if (value.isWellFormed && !value.isWellFormed()) {
      throw new OutputError('the returned text is not Unicode: it has half of a surrogate pair');
    }
    return { kind: 'text', text: value, raw: null };
  } else if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new OutputError(`the returned value cannot be sent: ${value} is not JSON (the value itself)`);
  }
  let text;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new OutputError(`the returned value cannot be sent: ${place(value) || String(error && error.message)}`);
  }
  if (text === undefined) {
    throw new OutputError(`the returned value cannot be sent: a ${typeof value} is not JSON (the value itself)`);
  }
  return { kind: 'json', text, raw: null };
}

function result(id, answers) {
  let line = `result ${id} ${answers.length}`;
  let text = '';
  let raw = false;
  for (const one of answers) {
    line += ` ${one.kind}:${one.text !== null ? Buffer.byteLength(one.text) : one.raw.length}`;
    if (one.text !== null) text += one.text;
    else raw = true;
  }
  line += '\n';
  if (!raw) return Buffer.from(line + text);
  return Buffer.concat([Buffer.from(line), ...answers.map((one) => one.raw || Buffer.from(one.text))]);
}

Error.stackTraceLimit = 50;
globalThis.runnel = { Reject, RetryAfter };
globalThis.awslambda = {
  // Named here, so that a handler that streams is told why it does not load.
  streamifyResponse() {
    throw new LoadError('awslambda.streamifyResponse is not served: export the handler without it, and return its answer');
  },
};
process.on('SIGTERM', () => {}); // a worker ends by the frame drain

// The event loop stays the user's: reads come in as events.
const input = new net.Socket({
  fd: 3,
  readable: true,
  writable: false,
  onread: { buffer: arrival, callback: onData },
});
input.on('end', drain);
input.on('error', (error) => fatal(`reading frames: ${error.message}`));
