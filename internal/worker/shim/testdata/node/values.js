'use strict';

// What a handler can return.

exports.echo = (event) => event;
exports.nothing = () => undefined;
exports.null = () => null;
exports.number = () => 42;
exports.text = () => 'grüße';
exports.raw = () => new Uint8Array([0, 255, 10]);
exports.unicode = () => ({ größe: '雪 \u{1f680}', lone: '\ud800' });
exports.nan = () => NaN;
exports.strange = () => ({ items: [{ when: 10n }] });
exports.function = () => () => 1;
exports.symbol = () => Symbol('x');
exports.cyclic = () => {
  const value = { a: [] };
  value.a.push(value);
  return value;
};
exports.size = (event) => event.length;
exports.large = (event) => 'x'.repeat(event);
exports.kind = (event) => (Buffer.isBuffer(event) ? 'Buffer' : typeof event);
exports.defaults = (event, context = null) => context !== null;
exports.variadic = (...args) => args.length;
exports.later = async (event) => {
  await new Promise((resolve) => setTimeout(resolve, 1));
  return event;
};
exports.soon = async (event) => {
  await null;
  return event;
};
exports.thenable = (event) => ({ then: (resolve) => resolve(event) });
exports.callback = (event, context, callback) => {
  setImmediate(() => callback(null, event));
};
exports.callbackNow = (event, context, callback) => callback(null, event);

let running = 0;
exports.serial = async () => {
  running++;
  await new Promise((resolve) => setTimeout(resolve, 1));
  return running--;
};

exports.reverse = (events) => events.reverse();
exports.some = (events) => events.map((e) => (e % 2 ? e : new RangeError(`${e} is even`)));
exports.unfit = (events) => events.map((e) => (e === 2 ? 2n : e));
exports.short = (events) => events.slice(1);
exports.total = async (events, context) => events.map((e, i) => [e, context.messages[i].messageId]);
