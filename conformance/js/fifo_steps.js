// Steps about FIFO queues: groups, deduplication, order, redrive.
'use strict';

const { createHash } = require('node:crypto');
const { equal } = require('./client.js');

const BAD_VALUE = ['InvalidParameterValue', 'InvalidParameterValueException'];
const ALL = { MessageSystemAttributeNames: ['All'], MaxNumberOfMessages: 10 };

const create = (s, suffix = '', attributes = {}) => s.create(suffix + '.fifo', { FifoQueue: 'true', ...attributes });

// send sends a body to the group of its first letter, with itself as the
// deduplication id.
const send = (s, url, body, rest = {}) =>
  s.send(url, body, { MessageGroupId: body[0], MessageDeduplicationId: body, ...rest });

const group = (messages, name) => messages.filter((m) => m.Attributes.MessageGroupId === name).map((m) => m.Body);

module.exports = {
  'fifo-queue': async (s) => {
    const url = await create(s);
    equal(url.endsWith(s.name + '.fifo'), true, `URL ${url} ends in the name`);
    const names = ['FifoQueue', 'ContentBasedDeduplication', 'DeduplicationScope', 'FifoThroughputLimit'];
    const values = async () => Object.values(await s.attributes(url, ...names)).sort();
    equal(await values(), ['false', 'perQueue', 'queue', 'true'], `values of ${names}`);
    const fast = { ContentBasedDeduplication: 'true', DeduplicationScope: 'messageGroup', FifoThroughputLimit: 'perMessageGroupId' };
    await s.call('SetQueueAttributes', { QueueUrl: url, Attributes: fast });
    equal({ ...await s.attributes(url, ...Object.keys(fast)) }, fast, 'attributes of high throughput');
    equal('FifoQueue' in await s.attributes(await s.create('-standard')), false, 'FifoQueue among the attributes of a standard queue');
    await s.fails(...BAD_VALUE, 'CreateQueue', { QueueName: s.name, Attributes: { FifoQueue: 'true' } });
    await s.fails(...BAD_VALUE, 'CreateQueue', { QueueName: s.name + '-2.fifo' });
    await s.call('DeleteQueue', { QueueUrl: url });
    await s.fails('AWS.SimpleQueueService.NonExistentQueue', 'QueueDoesNotExist', 'GetQueueUrl', { QueueName: s.name + '.fifo' });
  },

  // A group is locked while one of its messages is in flight; others are not.
  'fifo-groups': async (s) => {
    const url = await create(s);
    const sent = [];
    for (const body of ['a0', 'b0', 'a1', 'b1', 'a2']) sent.push(await send(s, url, body));
    const sequence = sent.map((m) => m.SequenceNumber);
    equal([...new Set(sequence)].sort(), sequence, 'sequence numbers in their order');
    equal(sequence.map((n) => /^\d{20}$/.test(n)), Array(5).fill(true), 'sequence numbers of 20 digits');

    const first = (await s.receive(url, { ...ALL, MaxNumberOfMessages: 1, WaitTimeSeconds: 5 }))[0];
    equal([first?.Body, first?.Attributes.MessageGroupId, first?.Attributes.MessageDeduplicationId, first?.Attributes.SequenceNumber],
      ['a0', 'a', 'a0', sequence[0]], 'first message');
    const others = await s.receive(url, ALL);
    equal(others.map((m) => m.Body), ['b0', 'b1'], 'messages while group a is locked');
    equal(await s.receive(url, ALL), [], 'messages while both groups are locked');
    await s.hide(url, first, 0);
    const again = await s.receive(url, ALL);
    equal(again.map((m) => [m.Body, m.Attributes.ApproximateReceiveCount]), [['a0', '2'], ['a1', '1'], ['a2', '1']],
      'messages of group a after it was let go');
    await s.delete(url, again[0]);
    equal(await s.receive(url, ALL), [], 'messages while the rest of group a is in flight');
    const Entries = [...again.slice(1), ...others].map((m, i) => ({ Id: `${i}`, ReceiptHandle: m.ReceiptHandle }));
    equal((await s.call('DeleteMessageBatch', { QueueUrl: url, Entries })).Successful.length, 4, 'messages deleted');
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed in the end');

    // A purge takes the locks away with the messages.
    for (const body of ['c0', 'c1']) await send(s, url, body);
    await s.receiveOne(url);
    await s.call('PurgeQueue', { QueueUrl: url });
    await send(s, url, 'c2');
    equal((await s.receiveOne(url)).Body, 'c2', 'body sent to the locked group after the purge');
  },

  'fifo-batch': async (s) => {
    const url = await create(s);
    const bodies = Array.from({ length: 10 }, (_, i) => 'ab'[i % 2] + i);
    const entries = bodies.map((b, i) => ({ Id: `e${i}`, MessageBody: b, MessageGroupId: b[0], MessageDeduplicationId: b }));
    entries[9] = { ...entries[9], MessageBody: 'b-again', MessageDeduplicationId: 'b7' };
    const { Successful, Failed } = await s.call('SendMessageBatch', { QueueUrl: url, Entries: entries });
    equal([Successful.map((e) => e.Id), Failed ?? []], [entries.map((e) => e.Id), []], 'entries');
    const sequence = Successful.map((e) => e.SequenceNumber);
    equal(sequence.slice(0, 9).sort(), sequence.slice(0, 9), 'sequence numbers in their order');
    equal([Successful[9].MessageId, sequence[9]], [Successful[7].MessageId, sequence[7]], 'id and sequence number of the duplicate');
    const got = await s.receiveN(url, 9, ALL);
    equal([group(got, 'a'), group(got, 'b')], [['a0', 'a2', 'a4', 'a6', 'a8'], ['b1', 'b3', 'b5', 'b7']], 'bodies of groups a, b');
  },

  'fifo-deduplication': async (s) => {
    const url = await create(s);
    const sent = await send(s, url, 'a first', { MessageDeduplicationId: 'same' });
    const ids = ({ MessageId, SequenceNumber }) => [MessageId, SequenceNumber];
    equal(ids(await send(s, url, 'a second', { MessageDeduplicationId: 'same' })), ids(sent), 'ids of a send again');
    const got = await s.receiveOne(url);
    equal([got.Body, await s.counts(url)], ['a first', [0, 1, 0]], 'body, counts');
    await s.delete(url, got);
    equal(ids(await send(s, url, 'b third', { MessageDeduplicationId: 'same' })), ids(sent), 'ids of a send after the delete');
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed after the delete');

    // By content, which is the body and not the attributes.
    const content = await create(s, '-content', { ContentBasedDeduplication: 'true' });
    const put = (rest) => s.send(content, 'same body', { MessageGroupId: 'a', ...rest });
    const one = await put();
    equal(ids(await put({ MessageAttributes: { N: { DataType: 'Number', StringValue: '1' } } })), ids(one), 'ids by content');
    equal((await put({ MessageDeduplicationId: 'other' })).MessageId === one.MessageId, false, 'ids are the same with an id of its own');
    const both = await s.receiveN(content, 2, ALL);
    equal(both.map((m) => m.Attributes.MessageDeduplicationId), [createHash('sha256').update('same body').digest('hex'), 'other'],
      'deduplication ids');
  },

  'fifo-receive-attempt': async (s) => {
    const url = await create(s);
    for (const body of ['a0', 'a1']) await send(s, url, body);
    const attempt = (id) => s.receive(url, { ...ALL, ReceiveRequestAttemptId: id });
    const first = await attempt('one');
    equal(first.map((m) => m.Body), ['a0', 'a1'], 'bodies of the first attempt');
    equal((await attempt('one')).map((m) => m.MessageId), first.map((m) => m.MessageId), 'ids of the attempt again');
    equal(await attempt('two'), [], 'messages of another attempt');
  },

  'fifo-dead-letter': async (s) => {
    const dead = await create(s, '-dead');
    const policy = async (queue) => JSON.stringify({ deadLetterTargetArn: await s.arn(queue), maxReceiveCount: 1 });
    const url = await create(s, '', { RedrivePolicy: await policy(dead) });
    for (const body of ['a0', 'a1', 'a2']) await send(s, url, body);
    for (const m of await s.receiveN(url, 3, ALL)) await s.hide(url, m, 0);
    equal(await s.receive(url, ALL), [], 'messages in the source after maxReceiveCount receives');
    const got = await s.receiveN(dead, 3, ALL);
    const source = await s.arn(url);
    equal(got.map(({ Body, Attributes: a }) => [Body, a.MessageGroupId, a.DeadLetterQueueSourceArn]),
      ['a0', 'a1', 'a2'].map((b) => [b, 'a', source]), 'dead letters in their order');
    equal(got.map((m) => m.Attributes.MessageDeduplicationId), got.map((m) => m.MessageId), 'deduplication ids, which are the ids');
    equal((await s.call('ListDeadLetterSourceQueues', { QueueUrl: dead })).queueUrls, [url], 'sources of the dead-letter queue');
    const standard = { RedrivePolicy: await policy(await s.create('-standard')) };
    await s.fails(...BAD_VALUE, 'SetQueueAttributes', { QueueUrl: url, Attributes: standard });
  },

  'fifo-errors': async (s) => {
    const url = await create(s);
    const fails = (code, rest) => s.fails(...code, 'SendMessage', { QueueUrl: url, MessageBody: 'x', ...rest });
    await fails(['MissingParameter', 'MissingRequiredParameterException'], { MessageDeduplicationId: 'a' });
    await fails(BAD_VALUE, { MessageGroupId: 'a' });
    await fails(BAD_VALUE, { MessageGroupId: 'a', MessageDeduplicationId: 'a', DelaySeconds: 1 });
    await fails(BAD_VALUE, { MessageGroupId: 'a', MessageDeduplicationId: 'no spaces' });
    await fails(BAD_VALUE, { MessageGroupId: 'no spaces', MessageDeduplicationId: 'a' });
    const standard = await s.create('-standard');
    await s.fails(...BAD_VALUE, 'ReceiveMessage', { QueueUrl: standard, ReceiveRequestAttemptId: 'a' });
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed');
  },
};
