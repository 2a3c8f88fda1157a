// Steps about batches.
'use strict';

const { equal } = require('./client.js');

const failed = (answer) => (answer.Failed ?? []).map((f) => [f.Id, f.Code, f.SenderFault]).sort();
const range = (n) => Array.from({ length: n }, (_, i) => i);

module.exports = {
  // Two entries of ten fail, each for itself, and the other eight arrive.
  'send-batch': async (s) => {
    const url = await s.create('', { MaximumMessageSize: '1024' });
    const entries = range(10).map((i) => ({ Id: `e-${i}`, MessageBody: `body ${i}` }));
    entries[4].MessageBody = 'x'.repeat(1025);
    entries[7].MessageBody = 'bad \x01 character';
    entries[9].DelaySeconds = 600;
    const answer = await s.call('SendMessageBatch', { QueueUrl: url, Entries: entries });
    equal(failed(answer), [['e-4', 'InvalidParameterValue', true], ['e-7', 'InvalidMessageContents', true]], 'failed entries');
    const good = entries.filter((e) => e.Id !== 'e-4' && e.Id !== 'e-7');
    equal(answer.Successful.map((e) => e.Id).sort(), good.map((e) => e.Id), 'successful entries');
    equal(await s.counts(url), [7, 0, 1], 'visible, in flight, delayed');
    const id = Object.fromEntries(answer.Successful.map((e) => [e.Id, e.MessageId]));
    const got = await s.receiveN(url, 7);
    equal(got.map((m) => [m.Body, m.MessageId]).sort(),
      good.filter((e) => e.Id !== 'e-9').map((e) => [e.MessageBody, id[e.Id]]), 'bodies and ids');
  },

  'receive-and-delete-batch': async (s) => {
    const url = await s.create();
    for (const size of [10, 8]) {
      const Entries = range(size).map((i) => ({ Id: String(i), MessageBody: `${i} of ${size}` }));
      await s.call('SendMessageBatch', { QueueUrl: url, Entries });
    }
    const got = await s.receiveN(url, 18);
    equal(new Set(got.map((m) => m.ReceiptHandle)).size, 18, 'different receipt handles');
    const entries = got.map((m, i) => ({ Id: `d${i}`, ReceiptHandle: m.ReceiptHandle }));
    entries.splice(3, 0, { Id: 'garbage', ReceiptHandle: 'not a receipt handle' });
    const first = await s.call('DeleteMessageBatch', { QueueUrl: url, Entries: entries.slice(0, 10) });
    equal(failed(first), [['garbage', 'ReceiptHandleIsInvalid', true]], 'failed entries');
    const second = await s.call('DeleteMessageBatch', { QueueUrl: url, Entries: entries.slice(10) });
    equal([first.Successful.length, second.Successful.length, failed(second)], [9, 9, []], 'entries of both batches');
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed in the end');
  },

  'change-visibility-batch': async (s) => {
    const url = await s.create('', { VisibilityTimeout: '60' });
    await s.call('SendMessageBatch', { QueueUrl: url, Entries: range(3).map((i) => ({ Id: `${i}`, MessageBody: `${i}` })) });
    const got = await s.receiveN(url, 3);
    const entries = got.map((m, i) => ({ Id: m.Body, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: i ? 0 : 120 }));
    const bad = { Id: 'garbage', ReceiptHandle: 'not a receipt handle', VisibilityTimeout: 0 };
    const answer = await s.call('ChangeMessageVisibilityBatch', { QueueUrl: url, Entries: [...entries, bad] });
    equal(failed(answer), [['garbage', 'ReceiptHandleIsInvalid', true]], 'failed entries');
    equal(answer.Successful.map((e) => e.Id).sort(), ['0', '1', '2'], 'successful entries');
    equal(await s.counts(url), [2, 1, 0], 'visible, in flight, delayed');
    const again = await s.receiveN(url, 2);
    equal(again.map((m) => m.Body).sort(), got.slice(1).map((m) => m.Body).sort(), 'bodies that came back');
  },

  'batch-errors': async (s) => {
    const url = await s.create();
    for (const [action, entry] of [
      ['SendMessageBatch', { MessageBody: 'x' }],
      ['DeleteMessageBatch', { ReceiptHandle: 'x' }],
      ['ChangeMessageVisibilityBatch', { ReceiptHandle: 'x', VisibilityTimeout: 1 }],
    ]) {
      for (const [code, ids] of [
        ['EmptyBatchRequest', []],
        ['TooManyEntriesInBatchRequest', range(11).map(String)],
        ['BatchEntryIdsNotDistinct', ['a', 'b', 'a']],
        ['InvalidBatchEntryId', ['a', 'b c']],
      ]) {
        const input = { QueueUrl: url, Entries: ids.map((Id) => ({ Id, ...entry })) };
        await s.fails('AWS.SimpleQueueService.' + code, code, action, input);
      }
    }
    // The sum of the bodies, 1 MiB and one byte, is too long; no entry is.
    const half = 'x'.repeat(1 << 19);
    const Entries = [{ Id: 'a', MessageBody: half }, { Id: 'b', MessageBody: half + 'x' }];
    await s.fails('AWS.SimpleQueueService.BatchRequestTooLong', 'BatchRequestTooLong', 'SendMessageBatch', { QueueUrl: url, Entries });
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed');
  },
};
