// Steps about single messages: attributes, bodies, waiting, visibility, delay.
'use strict';

const { createHash } = require('node:crypto');
const { subscribe, unsubscribe } = require('node:diagnostics_channel');
const { atLeast, atMost, equal } = require('./client.js');

const ATTRIBUTES = {
  'Stone.Kind': { DataType: 'String', StringValue: 'Feldspat, полевой шпат, 長石' },
  StoneWeight: { DataType: 'Number', StringValue: '12.50' },
  Raw: { DataType: 'Binary', BinaryValue: Buffer.from(Array.from({ length: 256 }, (_, i) => i)) },
  Colour: { DataType: 'String.css', StringValue: '#abc' },
  Scan: { DataType: 'Binary.png', BinaryValue: Buffer.from('\x89PNG\r\n\x1a\n', 'latin1') },
};

const md5 = (data) => createHash('md5').update(data).digest('hex');

// md5OfAttributes is MD5OfMessageAttributes: over the attributes sorted by name,
// each as length and name, length and type, one byte that says text (1) or
// binary (2), length and value. Lengths are 4 bytes, big end first.
function md5OfAttributes(attributes) {
  const parts = [];
  const add = (value) => {
    const bytes = Buffer.from(value);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(bytes.length);
    parts.push(size, bytes);
  };
  for (const name of Object.keys(attributes).sort()) {
    const { DataType, StringValue, BinaryValue } = attributes[name];
    add(name);
    add(DataType);
    parts.push(Buffer.from([BinaryValue ? 2 : 1]));
    add(BinaryValue ?? StringValue);
  }
  return md5(Buffer.concat(parts));
}

// plain makes attributes comparable: the SDKs have different classes for bytes.
function plain(attributes = {}) {
  return Object.fromEntries(Object.entries(attributes).map(([name, a]) => [
    name, [a.DataType, a.BinaryValue ? Buffer.from(a.BinaryValue).toString('hex') : a.StringValue],
  ]));
}

module.exports = {
  'send-receive': async (s) => {
    const url = await s.create();
    const trace = { AWSTraceHeader: { DataType: 'String', StringValue: 'Root=1-5759e988-bd862e3fe1be46a994272793' } };
    const sent = await s.send(url, 'hello', { MessageAttributes: ATTRIBUTES, MessageSystemAttributes: trace });
    equal([sent.MD5OfMessageBody, sent.MD5OfMessageAttributes, sent.MD5OfMessageSystemAttributes],
      [md5('hello'), md5OfAttributes(ATTRIBUTES), md5OfAttributes(trace)], 'MD5 of body, attributes, system attributes');
    const all = { MessageSystemAttributeNames: ['All'], MessageAttributeNames: ['All'], VisibilityTimeout: 0 };
    for (const count of ['1', '2']) {
      const got = await s.receiveOne(url, all);
      equal([got.MessageId, got.Body, got.MD5OfBody], [sent.MessageId, 'hello', md5('hello')], 'id, body and MD5');
      equal(plain(got.MessageAttributes), plain(ATTRIBUTES), 'MessageAttributes');
      equal(got.MD5OfMessageAttributes, md5OfAttributes(ATTRIBUTES), 'MD5OfMessageAttributes when received');
      equal([got.Attributes.AWSTraceHeader, got.Attributes.ApproximateReceiveCount],
        [trace.AWSTraceHeader.StringValue, count], 'AWSTraceHeader, ApproximateReceiveCount');
      atMost(Math.abs(Number(got.Attributes.SentTimestamp) - Date.now()), 60_000, 'SentTimestamp apart from our clock, in ms');
    }
    for (const [names, wanted] of [
      [['Stone.*'], ['Stone.Kind', 'StoneWeight']],
      [['Raw', 'Missing'], ['Raw']],
      [['.*'], Object.keys(ATTRIBUTES)],
    ]) {
      const got = await s.receiveOne(url, { MessageAttributeNames: names, VisibilityTimeout: 0 });
      const some = Object.fromEntries(wanted.map((n) => [n, ATTRIBUTES[n]]));
      equal(plain(got.MessageAttributes), plain(some), `attributes for the filter ${names}`);
      equal(got.MD5OfMessageAttributes, md5OfAttributes(some), `MD5OfMessageAttributes for the filter ${names}`);
    }
    const got = await s.receiveOne(url);
    equal([got.Attributes ?? {}, got.MessageAttributes ?? {}], [{}, {}], 'attributes when none are asked for');
    for (let i = 0; i < 2; i++) await s.delete(url, got); // the second one finds nothing to do, which is no error
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed after the delete');
  },

  bodies: async (s) => {
    const url = await s.create();
    for (const body of [
      'Grüße, мир, 世界, \u{1f680}, e\u0301, \u202e',
      '\t tab \n newline \r return ',
      '"quotes" \\backslash\\ <a href="x">&amp;</a> ]]> %41 + {"json": [1]}',
      'first and last allowed: \x20\x7f\x85\ud7ff\ue000\ufffd\u{10000}\u{10ffff}\u2028\u2029',
      'é'.repeat(1 << 19), // 1 MiB, the largest that SQS takes, counted in bytes of UTF-8
    ]) {
      const sent = await s.send(url, body);
      equal(sent.MD5OfMessageBody, md5(body), 'MD5OfMessageBody');
      const got = await s.receiveOne(url);
      equal(got.Body === body, true, `body ${JSON.stringify(body.slice(0, 40))} is unchanged`);
      await s.delete(url, got);
    }
  },

  'long-poll': async (s) => {
    const url = await s.create();
    let start = performance.now();
    equal(await s.receive(url, { WaitTimeSeconds: 1 }), [], 'messages of a long poll on an empty queue');
    atLeast(performance.now() - start, 950, 'ms of a long poll for 1 s');

    // The send goes when the request of the long poll has left.
    const left = new Promise((resolve) => {
      const started = ({ request }) => {
        unsubscribe('http.client.request.start', started);
        request.once('finish', resolve);
      };
      subscribe('http.client.request.start', started);
    });
    const poll = s.receive(url, { WaitTimeSeconds: 10 }).then((messages) => ({ messages, at: performance.now() }));
    await left;
    start = performance.now();
    await s.send(url, 'wake up');
    const { messages, at } = await poll;
    equal(messages.map((m) => m.Body), ['wake up'], 'bodies of the long poll');
    atMost(at - start, 1000, 'ms from the send to the end of the long poll');
  },

  visibility: async (s) => {
    const url = await s.create('', { VisibilityTimeout: '60' });
    await s.send(url, 'x');
    const count = { MessageSystemAttributeNames: ['ApproximateReceiveCount'] };
    const first = await s.receiveOne(url, count);
    equal(await s.receive(url), [], 'messages while the only one is in flight');
    await s.hide(url, first, 0);
    const second = await s.receiveOne(url, { ...count, VisibilityTimeout: 1 });
    equal([second.MessageId, second.Attributes.ApproximateReceiveCount], [first.MessageId, '2'], 'second receive');
    // The timeout of the second receive ends while the third one waits for it.
    const start = performance.now();
    const third = await s.receiveOne(url, { ...count, WaitTimeSeconds: 10 });
    equal(third.Attributes.ApproximateReceiveCount, '3', 'ApproximateReceiveCount after the timeout');
    atMost(performance.now() - start, 3000, 'ms until a message with a timeout of 1 s came back');
    await s.delete(url, third);
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed in the end');
  },

  delay: async (s) => {
    const url = await s.create('', { DelaySeconds: '600' });
    const start = performance.now();
    await s.send(url, 'after 10 min');
    await s.send(url, 'after 1 s', { DelaySeconds: 1 });
    equal(await s.counts(url), [0, 0, 2], 'visible, in flight, delayed');
    equal((await s.receiveOne(url, { WaitTimeSeconds: 10 })).Body, 'after 1 s', 'body after the delay');
    atLeast(performance.now() - start, 950, 'ms until a message with a delay of 1 s came');
  },
};
