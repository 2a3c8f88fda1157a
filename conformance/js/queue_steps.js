// Steps about queues: their life, attributes, counts, purge and redrive.
'use strict';

const { atMost, equal } = require('./client.js');

const GONE = ['AWS.SimpleQueueService.NonExistentQueue', 'QueueDoesNotExist'];

module.exports = {
  'create-queue': async (s) => {
    const arn = await s.arn(await s.create('-dead'));
    const wanted = {
      VisibilityTimeout: '7',
      DelaySeconds: '3',
      MessageRetentionPeriod: '3600',
      ReceiveMessageWaitTimeSeconds: '2',
      MaximumMessageSize: '2048',
      RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arn, maxReceiveCount: 3 }),
    };
    const url = await s.create('', wanted);
    const { origin, pathname } = new URL(url);
    equal(origin, new URL(process.env.AWS_ENDPOINT_URL_SQS).origin, 'server in the queue URL');
    equal(pathname, `/${arn.split(':')[4]}/${s.name}`, 'path of the queue URL');
    equal(await s.create('', wanted), url, 'URL when created again with the same attributes');
    equal(await s.create('', { VisibilityTimeout: '7' }), url, 'URL when created again with some of the attributes');
    equal((await s.call('GetQueueUrl', { QueueName: s.name })).QueueUrl, url, 'GetQueueUrl');
    const other = { QueueName: s.name, Attributes: { ...wanted, VisibilityTimeout: '8' } };
    await s.fails('QueueAlreadyExists', 'QueueNameExists', 'CreateQueue', other);
    const got = await s.attributes(url);
    const policy = JSON.parse(got.RedrivePolicy);
    equal([policy.deadLetterTargetArn, Number(policy.maxReceiveCount)], [arn, 3], 'RedrivePolicy');
    const names = Object.keys(wanted).filter((n) => n !== 'RedrivePolicy');
    equal(names.map((n) => got[n]), names.map((n) => wanted[n]), `attributes ${names}`);
  },

  'list-queues': async (s) => {
    const wanted = [];
    for (let i = 0; i < 5; i++) wanted.push(await s.create(`-a-${i}`));
    await s.create('-b');
    const prefix = { QueueNamePrefix: s.name + '-a-' };
    equal((await s.call('ListQueues', prefix)).QueueUrls.sort(), wanted, 'queues with the prefix');
    const got = [];
    const sizes = [];
    let token;
    do {
      const page = await s.call('ListQueues', { ...prefix, MaxResults: 2, ...(token && { NextToken: token }) });
      got.push(...page.QueueUrls);
      sizes.push(page.QueueUrls.length);
      token = page.NextToken;
    } while (token && sizes.length < 6);
    equal([got.sort(), sizes], [wanted, [2, 2, 1]], 'queues by pages of two');
    if (s.kind === 'v3') {
      const pages = s.library.sdk.paginateListQueues({ client: s.call.client, pageSize: 3 }, prefix);
      const urls = [];
      for await (const page of pages) urls.push(...page.QueueUrls);
      equal(urls.sort(), wanted, "queues by the client's own paginator");
    }
  },

  'queue-attributes': async (s) => {
    const url = await s.create();
    const defaults = {
      VisibilityTimeout: '30', DelaySeconds: '0', MessageRetentionPeriod: '345600', ReceiveMessageWaitTimeSeconds: '0',
      MaximumMessageSize: '1048576', ApproximateNumberOfMessages: '0', ApproximateNumberOfMessagesNotVisible: '0',
      ApproximateNumberOfMessagesDelayed: '0',
    };
    const got = await s.attributes(url);
    equal(Object.keys(defaults).map((n) => got[n]), Object.values(defaults), 'attributes of a new queue');
    atMost(Math.abs(Number(got.CreatedTimestamp) - Date.now() / 1000), 60, 'CreatedTimestamp apart from our clock, in seconds');
    equal('RedrivePolicy' in got, false, 'RedrivePolicy of a new queue');
    const changed = { VisibilityTimeout: '0', DelaySeconds: '900', MaximumMessageSize: '1024' };
    await s.call('SetQueueAttributes', { QueueUrl: url, Attributes: changed });
    equal(await s.attributes(url, ...Object.keys(changed)), changed, 'attributes after SetQueueAttributes');
    equal(await s.attributes(url, 'DelaySeconds'), { DelaySeconds: '900' }, 'one attribute by name');
  },

  'counts-and-purge': async (s) => {
    const url = await s.create('', { VisibilityTimeout: '60' });
    for (const delay of [0, 0, 0, 600]) await s.send(url, 'x', { DelaySeconds: delay });
    equal(await s.counts(url), [3, 0, 1], 'visible, in flight, delayed after sending');
    const first = await s.receiveOne(url);
    await s.receiveOne(url);
    equal(await s.counts(url), [1, 2, 1], 'visible, in flight, delayed after receiving 2');
    await s.delete(url, first);
    equal(await s.counts(url), [1, 1, 1], 'visible, in flight, delayed after deleting 1');
    await s.call('PurgeQueue', { QueueUrl: url });
    equal(await s.counts(url), [0, 0, 0], 'visible, in flight, delayed after the purge');
    const code = ['AWS.SimpleQueueService.PurgeQueueInProgress', 'PurgeQueueInProgress'];
    await s.fails(...code, 'PurgeQueue', { QueueUrl: url }, 403);
    await s.send(url, 'after');
    equal((await s.receiveOne(url)).Body, 'after', 'body sent after the purge');
  },

  'dead-letter': async (s) => {
    const dead = await s.create('-dead');
    const policy = { deadLetterTargetArn: await s.arn(dead), maxReceiveCount: 2 };
    const url = await s.create('', { RedrivePolicy: JSON.stringify(policy) });
    const sent = await s.send(url, 'poison', { MessageAttributes: { Kind: { DataType: 'String', StringValue: 'bad' } } });
    for (const count of ['1', '2']) {
      const got = await s.receiveOne(url, { MessageSystemAttributeNames: ['All'] });
      equal(got.Attributes.ApproximateReceiveCount, count, 'ApproximateReceiveCount in the source');
      await s.hide(url, got, 0);
    }
    equal(await s.receive(url), [], 'messages in the source after maxReceiveCount receives');
    const got = await s.receiveOne(dead, { MessageSystemAttributeNames: ['All'], MessageAttributeNames: ['All'] });
    equal([got.MessageId, got.Body, got.MessageAttributes.Kind.StringValue], [sent.MessageId, 'poison', 'bad'],
      'id, body and attribute in the dead-letter queue');
    equal(got.Attributes.DeadLetterQueueSourceArn, await s.arn(url), 'DeadLetterQueueSourceArn');
    await s.delete(dead, got);
    equal([await s.counts(url), await s.counts(dead)], [[0, 0, 0], [0, 0, 0]], 'messages in the source, in the dead-letter queue');
  },

  'delete-queue': async (s) => {
    const url = await s.create();
    await s.send(url, 'lost with its queue');
    await s.call('DeleteQueue', { QueueUrl: url });
    await s.fails(...GONE, 'GetQueueUrl', { QueueName: s.name });
    await s.fails(...GONE, 'SendMessage', { QueueUrl: url, MessageBody: 'x' });
    await s.fails(...GONE, 'ReceiveMessage', { QueueUrl: url });
    equal((await s.call('ListQueues', { QueueNamePrefix: s.name })).QueueUrls ?? [], [], 'queues left');
  },
};
