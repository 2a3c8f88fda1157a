'use strict';

// What a handler's second argument says of its call.

const { Reject, RetryAfter } = require('./errors.cjs');

const FUNCTION = process.env.RUNNEL_FUNCTION || '';
const VERSION = process.env.RUNNEL_VERSION || '';
const WORKER = process.env.RUNNEL_WORKER || String(process.pid);
const MEMORY = Number(process.env.RUNNEL_MEMORY) || 0;

const LEVELS = { debug: 'debug', info: 'info', warn: 'warn', warning: 'warn', error: 'error' };

/** What the frame says of a call; its JSON is parsed when somebody asks. */
class Meta {
  constructor(id, deadline, raw, sendLog) {
    this.id = id;
    this.deadline = deadline;
    this.raw = raw;
    this.sendLog = sendLog;
    this.value = null;
    this.fail = null; // ends the item that is running with an error
    this.cancelled = false;
    this.abort = null; // made when somebody asks for the signal
  }

  cancel() {
    this.cancelled = true;
    if (this.abort !== null) this.abort.abort();
  }

  signal() {
    if (this.abort === null) {
      this.abort = new AbortController();
      if (this.cancelled) this.abort.abort();
    }
    return this.abort.signal;
  }

  parsed() {
    if (this.value === null) this.value = this.raw.length > 0 ? JSON.parse(this.raw.toString()) : {};
    return this.value;
  }

  item(index) {
    const items = this.parsed().items;
    return (items && items[index]) || {};
  }
}

/**
 * The call that a handler is in, and the message that it is for. The names of
 * AWS Lambda's context are there as well.
 */
class Context {
  #meta;
  #index;
  #count;

  constructor(meta, index, count) {
    this.#meta = meta;
    this.#index = index;
    this.#count = count;
    // Handlers set it; there is nothing to wait for.
    this.callbackWaitsForEmptyEventLoop = false;
  }

  // The message. Of a list, the first: the others are in messages.

  get messageId() {
    return this.#meta.item(this.#index).message || '';
  }

  /** 1 on the first try of this message. */
  get attempt() {
    return this.#meta.item(this.#index).attempt || 1;
  }

  get key() {
    return this.#meta.item(this.#index).key || '';
  }

  /** An object of strings; of an attribute of a Binary type, its base64. */
  get attributes() {
    return this.#meta.item(this.#index).attributes || {};
  }

  /** The W3C traceparent of the message, or an empty string. */
  get trace() {
    return this.#meta.item(this.#index).trace || '';
  }

  /** One context per value of a list; this one alone otherwise. */
  get messages() {
    if (this.#count <= 1) return [this];
    return Array.from({ length: this.#count }, (_, i) => new Context(this.#meta, i, 1));
  }

  // The call.

  get invocationId() {
    return this.#meta.id;
  }

  get flow() {
    return this.#meta.parsed().flow || '';
  }

  get functionName() {
    return FUNCTION;
  }

  get functionVersion() {
    return VERSION;
  }

  /** When the call is given up, in seconds since 1970; null means never. */
  get deadline() {
    return this.#meta.deadline ? this.#meta.deadline / 1000 : null;
  }

  /** Seconds until the deadline; 0 when it is over. */
  get remainingTime() {
    return this.#meta.deadline ? Math.max(0, this.#meta.deadline - Date.now()) / 1000 : Infinity;
  }

  /** An AbortSignal: nobody waits for the call any more. */
  get signal() {
    return this.#meta.signal();
  }

  /** log(text) or log(level, text); the level is debug, info, warn or error. */
  log(level, text) {
    if (arguments.length === 1) {
      text = level;
      level = 'info';
    }
    const word = LEVELS[String(level).toLowerCase()];
    if (word === undefined) {
      throw new RangeError(`${String(level)} is no level: want debug, info, warn or error`);
    }
    this.#meta.sendLog(this.#meta.id, word, String(text));
  }

  /** Returns an error to throw: the message can never succeed. */
  reject(reason) {
    return new Reject(reason);
  }

  /** Returns an error to throw: try again, not before so many seconds. */
  retry(seconds, reason) {
    return new RetryAfter(seconds, reason);
  }

  // The names of AWS Lambda.

  get awsRequestId() {
    return this.#meta.id;
  }

  get invokedFunctionArn() {
    const region = process.env.AWS_REGION || 'local';
    return `arn:aws:lambda:${region}:000000000000:function:${FUNCTION.slice(FUNCTION.lastIndexOf('/') + 1)}`;
  }

  /** A string of digits, as with AWS; null without a limit. */
  get memoryLimitInMB() {
    return MEMORY ? String(Math.floor(MEMORY / (1 << 20))) : null;
  }

  get logGroupName() {
    return '/runnel/' + FUNCTION;
  }

  get logStreamName() {
    return `${VERSION}/${WORKER}`;
  }

  getRemainingTimeInMillis() {
    return this.#meta.deadline ? Math.max(0, this.#meta.deadline - Date.now()) : 2147483647;
  }
}

module.exports = { Meta, Context };
