'use strict';

// Whose call something is, where several are in flight.

const { AsyncLocalStorage } = require('node:async_hooks');

// The longest text of a log frame, in bytes.
const MAX_LOG = 64 << 10;

const NEWLINE = 10;

/**
 * What a call writes to standard output and standard error becomes log frames
 * with its id. What is written outside of calls goes where it went.
 */
class Attribution {
  #storage = new AsyncLocalStorage();
  #running = new Map(); // what the storage holds, by the call
  #send;

  constructor({ stdout, stderr }, send) {
    this.#send = send;
    this.#divert(stdout, 'info');
    this.#divert(stderr, 'warn');
  }

  /** Runs a call; its id is known to all that it starts. */
  async within(meta, answer) {
    const own = { meta, over: false, partial: { info: null, warn: null } };
    this.#running.set(meta, own);
    try {
      return await this.#storage.run(own, answer);
    } finally {
      for (const level of ['info', 'warn']) {
        if (own.partial[level] !== null) this.#log(own, level, own.partial[level]);
      }
      own.over = true;
      this.#running.delete(meta);
    }
  }

  /** Runs something as a part of a call that is running. */
  inside(meta, what) {
    this.#storage.run(this.#running.get(meta), what);
  }

  /** The call that the running code belongs to; null outside of calls. */
  current() {
    const own = this.#storage.getStore();
    return own === undefined || own.over ? null : own.meta;
  }

  #divert(stream, level) {
    const write = stream.write;
    stream.write = (chunk, encoding, callback) => {
      const own = this.#storage.getStore();
      const isText = typeof chunk === 'string';
      if (own === undefined || own.over || !(isText || chunk instanceof Uint8Array)) {
        return write.call(stream, chunk, encoding, callback);
      }
      if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
      this.#print(own, level, isText ? Buffer.from(chunk, encoding) : Buffer.from(chunk));
      if (typeof callback === 'function') process.nextTick(callback);
      return true;
    };
  }

  // Sends the lines that have an end.
  #print(own, level, bytes) {
    let rest = own.partial[level] === null ? bytes : Buffer.concat([own.partial[level], bytes]);
    let end = rest.indexOf(NEWLINE);
    while (end >= 0) {
      this.#log(own, level, rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      end = rest.indexOf(NEWLINE);
    }
    if (rest.length > MAX_LOG) {
      this.#log(own, level, rest);
      rest = rest.subarray(rest.length);
    }
    own.partial[level] = rest.length > 0 ? rest : null;
  }

  // A line that is too long for one frame takes several.
  #log(own, level, line) {
    for (let at = 0; at === 0 || at < line.length; at += MAX_LOG) {
      const part = line.subarray(at, at + MAX_LOG);
      this.#send(Buffer.concat([Buffer.from(`log ${own.meta.id} ${level} ${part.length}\n`), part]));
    }
  }
}

module.exports = { Attribution };
