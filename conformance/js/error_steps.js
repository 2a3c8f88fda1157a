// Steps about calls that are refused, each with the exact code.
'use strict';

const { equal } = require('./client.js');

const NO_QUEUE = ['AWS.SimpleQueueService.NonExistentQueue', 'QueueDoesNotExist'];
const BAD_VALUE = ['InvalidParameterValue', 'InvalidParameterValueException'];

module.exports = {
  'queue-errors': async (s) => {
    const url = await s.create();
    const QueueUrl = url + '-nowhere';
    await s.fails(...NO_QUEUE, 'GetQueueUrl', { QueueName: s.name + '-nowhere' });
    for (const [action, rest] of [
      ['GetQueueAttributes', { AttributeNames: ['All'] }], ['SetQueueAttributes', { Attributes: { DelaySeconds: '1' } }],
      ['SendMessage', { MessageBody: 'x' }], ['ReceiveMessage', { WaitTimeSeconds: 20 }], ['PurgeQueue'], ['DeleteQueue'],
      ['ListQueueTags'], ['SendMessageBatch', { Entries: [{ Id: 'a', MessageBody: 'x' }] }],
    ]) await s.fails(...NO_QUEUE, action, { QueueUrl, ...rest });
    for (const QueueName of ['no spaces', 'x'.repeat(81)]) await s.fails(...BAD_VALUE, 'CreateQueue', { QueueName });
    for (const [name, value] of [
      ['VisibilityTimeout', '43201'], ['DelaySeconds', '-1'], ['MessageRetentionPeriod', '59'], ['MaximumMessageSize', 'big'],
    ]) {
      const code = ['InvalidAttributeValue', 'InvalidAttributeValue'];
      await s.fails(...code, 'SetQueueAttributes', { QueueUrl: url, Attributes: { [name]: value } });
    }
    const code = ['InvalidAttributeName', 'InvalidAttributeName'];
    await s.fails(...code, 'SetQueueAttributes', { QueueUrl: url, Attributes: { Colour: 'red' } });
    await s.fails(...code, 'GetQueueAttributes', { QueueUrl: url, AttributeNames: ['Colour'] });
  },

  'message-errors': async (s) => {
    const url = await s.create('', { MaximumMessageSize: '1024' });
    const send = (code, rest) => s.fails(...code, 'SendMessage', { QueueUrl: url, MessageBody: 'x', ...rest });
    await send(['InvalidMessageContents', 'InvalidMessageContents'], { MessageBody: 'bad \x01' });
    await send(['MissingParameter', 'MissingRequiredParameterException'], { MessageBody: '' });
    await send(BAD_VALUE, { MessageBody: 'é'.repeat(513) });
    await send(BAD_VALUE, { DelaySeconds: 901 });
    for (const attribute of [{ DataType: 'Text', StringValue: 'x' }, { DataType: 'Number', StringValue: 'twelve' }]) {
      await send(BAD_VALUE, { MessageAttributes: { Key: attribute } });
    }
    await s.fails(...BAD_VALUE, 'ReceiveMessage', { QueueUrl: url, MaxNumberOfMessages: 11 });
    await s.fails(...BAD_VALUE, 'ReceiveMessage', { QueueUrl: url, WaitTimeSeconds: 21 });
    const garbage = { QueueUrl: url, ReceiptHandle: 'not a receipt handle' };
    const code = ['ReceiptHandleIsInvalid', 'ReceiptHandleIsInvalid'];
    await s.fails(...code, 'DeleteMessage', garbage, 400, 404);
    await s.fails(...code, 'ChangeMessageVisibility', { ...garbage, VisibilityTimeout: 1 }, 400, 404);
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed');
  },

  'signature-errors': async (s) => {
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = process.env;
    for (const [key, value, codes] of [
      [id, secret + 'x', ['SignatureDoesNotMatch', 'InvalidSignatureException']],
      ['AKIAUNKNOWNUNKNOWN00', secret, ['InvalidClientTokenId', 'UnrecognizedClientException']],
    ]) {
      // SQS has told the code in the words of either of its two protocols.
      const error = await s.withKey(key, value)('ListQueues', {}).then(() => null, (err) => err);
      const code = error?.Code ?? error?.code ?? error?.name;
      equal(codes.includes(code) ? codes : code, codes, 'code of a bad signature or key');
    }
  },
};
