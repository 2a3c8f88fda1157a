// Steps about what stands around queues: tags, permissions, the sources of a
// dead-letter queue, move tasks.
'use strict';

const { atMost, equal } = require('./client.js');

const BAD_VALUE = ['InvalidParameterValue', 'InvalidParameterValueException'];
const MISSING = ['ResourceNotFoundException', 'ResourceNotFoundException'];

module.exports = {
  tags: async (s) => {
    const url = (await s.call('CreateQueue', { QueueName: s.name, tags: { team: 'blue', empty: '' } })).QueueUrl;
    const tags = async () => (await s.call('ListQueueTags', { QueueUrl: url })).Tags ?? {};
    equal({ ...await tags() }, { team: 'blue', empty: '' }, 'tags of a new queue');
    await s.call('TagQueue', { QueueUrl: url, Tags: { team: 'grün', 'a b': '&<>"' } });
    await s.call('UntagQueue', { QueueUrl: url, TagKeys: ['empty', 'never there'] });
    equal({ ...await tags() }, { team: 'grün', 'a b': '&<>"' }, 'tags after changes');
    const many = Object.fromEntries(Array.from({ length: 49 }, (_, i) => [`t${i}`, '']));
    await s.fails(...BAD_VALUE, 'TagQueue', { QueueUrl: url, Tags: many });
    await s.call('UntagQueue', { QueueUrl: url, TagKeys: ['team', 'a b'] });
    equal({ ...await tags() }, {}, 'tags when there are none');
  },

  permissions: async (s) => {
    const url = await s.create();
    const arn = await s.arn(url);
    const one = { QueueUrl: url, Label: 'one', AWSAccountIds: [arn.split(':')[4]], Actions: ['SendMessage'] };
    await s.call('AddPermission', one);
    await s.fails(...BAD_VALUE, 'AddPermission', one);
    await s.fails('OverLimit', 'OverLimit', 'AddPermission', { ...one, Label: 'two', Actions: Array(8).fill('*') }, 403);
    await s.call('AddPermission', { ...one, Label: 'two', Actions: ['ReceiveMessage', 'DeleteMessage'] });
    const { Statement } = JSON.parse((await s.attributes(url, 'Policy')).Policy);
    equal(Statement.map((p) => [p.Sid, p.Action, p.Resource]), [
      ['one', 'SQS:SendMessage', arn], ['two', ['SQS:ReceiveMessage', 'SQS:DeleteMessage'], arn],
    ], 'statements of the Policy');
    for (const label of ['one', 'two']) await s.call('RemovePermission', { QueueUrl: url, Label: label });
    await s.fails(...BAD_VALUE, 'RemovePermission', { QueueUrl: url, Label: 'one' });
    equal(await s.attributes(url, 'Policy'), {}, 'Policy when the last permission is gone');
  },

  'dead-letter-sources': async (s) => {
    const dead = await s.create('-dead');
    const policy = JSON.stringify({ deadLetterTargetArn: await s.arn(dead), maxReceiveCount: 1 });
    const ask = (rest) => s.call('ListDeadLetterSourceQueues', { QueueUrl: dead, ...rest });
    equal((await ask()).queueUrls ?? [], [], 'sources of a new queue');
    const wanted = [];
    for (let i = 0; i < 3; i++) wanted.push(await s.create(`-${i}`, { RedrivePolicy: policy }));
    const first = await ask({ MaxResults: 2 });
    const second = await ask({ MaxResults: 2, NextToken: first.NextToken });
    equal([first.queueUrls.length, second.NextToken], [2, undefined], 'length of the first page, token of the second');
    equal([...first.queueUrls, ...second.queueUrls].sort(), wanted, 'sources by pages of two');
  },

  'move-tasks': async (s) => {
    const dead = await s.create('-dead');
    const arn = await s.arn(dead);
    const url = await s.create('', { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arn, maxReceiveCount: 1 }) });
    const other = await s.create('-other');
    const bodies = ['0', '1', '2', '3', '4'];
    for (const body of bodies) await s.send(url, body);
    await s.receiveN(url, 5, { VisibilityTimeout: 0 });
    equal(await s.receive(url), [], 'messages in the source after maxReceiveCount receives');
    equal(await s.counts(dead), [5, 0, 0], 'visible, in flight, delayed in the dead-letter queue');

    await s.fails(...BAD_VALUE, 'StartMessageMoveTask', { SourceArn: await s.arn(url) });
    await s.fails(...MISSING, 'ListMessageMoveTasks', { SourceArn: arn + '-nowhere' }, 404);
    await s.fails(...BAD_VALUE, 'CancelMessageMoveTask', { TaskHandle: 'not a handle' });

    const tasks = async () => (await s.call('ListMessageMoveTasks', { SourceArn: arn, MaxResults: 10 })).Results ?? [];
    await s.call('StartMessageMoveTask', { SourceArn: arn });
    const got = await s.receiveN(url, 5);
    equal(got.map((m) => m.Body).sort(), bodies, 'bodies that came back');
    const deadline = Date.now() + 10_000;
    let task;
    while ((task = (await tasks())[0]).Status === 'RUNNING') atMost(Date.now(), deadline, 'time at which the task has ended');
    equal([task.Status, task.ApproximateNumberOfMessagesMoved, task.ApproximateNumberOfMessagesToMove], ['COMPLETED', 5, 5],
      'first task');
    atMost(Math.abs(task.StartedTimestamp - Date.now()), 60_000, 'StartedTimestamp apart from our clock, in ms');

    // To another queue, one a second, and cancelled.
    for (const m of got) await s.hide(url, m, 0);
    equal(await s.receive(url), [], 'messages in the source, once more');
    const to = await s.arn(other);
    const slow = { SourceArn: arn, DestinationArn: to, MaxNumberOfMessagesPerSecond: 1 };
    const { TaskHandle } = await s.call('StartMessageMoveTask', slow);
    await s.fails(...BAD_VALUE, 'StartMessageMoveTask', { SourceArn: arn });
    task = (await tasks())[0];
    equal([task.TaskHandle, task.Status, task.DestinationArn, task.MaxNumberOfMessagesPerSecond], [TaskHandle, 'RUNNING', to, 1],
      'second task');
    const { ApproximateNumberOfMessagesMoved: moved } = await s.call('CancelMessageMoveTask', { TaskHandle });
    atMost(moved, 4, 'messages moved');
    equal((await tasks()).map((t) => ['CANCELLING', 'CANCELLED'].includes(t.Status)), [true, false], 'tasks that were cancelled');
  },
};
