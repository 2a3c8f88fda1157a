// What the steps share: the two SDKs behind one call, checks, and waiting for
// messages.
'use strict';

const assert = require('node:assert');
const { isDeepStrictEqual, inspect } = require('node:util');

// The clients by their names. Each makes a call(action, input) for a key, which
// resolves to the answer. One attempt each: a retry could hide a fault of the
// server.
const CLIENTS = {
  v3: (require) => {
    const sdk = require('@aws-sdk/client-sqs');
    return {
      sdk,
      version: require('@aws-sdk/client-sqs/package.json').version,
      protocol: 'json',
      connect: (options) => {
        const { accessKeyId, secretAccessKey, ...rest } = options;
        const client = new sdk.SQSClient({ ...rest, credentials: { accessKeyId, secretAccessKey }, maxAttempts: 1 });
        const call = (action, input) => client.send(new sdk[action + 'Command'](input));
        return Object.assign(call, { client });
      },
    };
  },
  v2: (require) => v2(require, 'aws-sdk', 'json'),
  'v2-query': (require) => v2(require, 'aws-sdk-query', 'query'),
};

function v2(require, name, protocol) {
  process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
  const sdk = require(name);
  return {
    sdk,
    version: sdk.VERSION,
    protocol,
    connect: (options) => {
      const client = new sdk.SQS({ ...options, maxRetries: 0 });
      assert.strictEqual(client.api.protocol, protocol, 'protocol of the SDK');
      return (action, input) => client[action[0].toLowerCase() + action.slice(1)](input).promise();
    },
  };
}

// Session is one step's client, and the names of its queues.
class Session {
  constructor(kind, library, name) {
    Object.assign(this, { kind, library, name });
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = process.env;
    this.call = this.withKey(id, secret);
  }

  withKey(accessKeyId, secretAccessKey) {
    const { AWS_ENDPOINT_URL_SQS: endpoint, AWS_REGION: region } = process.env;
    return this.library.connect({ endpoint, region, accessKeyId, secretAccessKey });
  }

  // create makes a queue of the step and returns its URL.
  async create(suffix = '', attributes = {}) {
    const answer = await this.call('CreateQueue', { QueueName: this.name + suffix, Attributes: attributes });
    return answer.QueueUrl;
  }

  async attributes(url, ...names) {
    const input = { QueueUrl: url, AttributeNames: names.length ? names : ['All'] };
    return (await this.call('GetQueueAttributes', input)).Attributes ?? {};
  }

  async arn(url) {
    return (await this.attributes(url, 'QueueArn')).QueueArn;
  }

  // counts is visible, in flight, delayed.
  async counts(url) {
    const names = ['', 'NotVisible', 'Delayed'].map((n) => 'ApproximateNumberOfMessages' + n);
    const got = await this.attributes(url, ...names);
    return names.map((n) => Number(got[n]));
  }

  send(url, body, rest = {}) {
    return this.call('SendMessage', { QueueUrl: url, MessageBody: body, ...rest });
  }

  // receive is one receive; the list of messages, empty if there was none. The
  // v2 SDKs know only the older name of MessageSystemAttributeNames.
  async receive(url, rest = {}) {
    const input = { QueueUrl: url, ...rest };
    if (this.kind !== 'v3' && input.MessageSystemAttributeNames) {
      input.AttributeNames = input.MessageSystemAttributeNames;
      delete input.MessageSystemAttributeNames;
    }
    return (await this.call('ReceiveMessage', input)).Messages ?? [];
  }

  async receiveOne(url, rest = {}) {
    const got = await this.receive(url, { WaitTimeSeconds: 5, ...rest });
    equal(got.length, 1, 'number of messages received');
    return got[0];
  }

  // receiveN receives until n messages are there: a queue may answer with fewer
  // than it has.
  async receiveN(url, n, rest = {}) {
    const got = [];
    const deadline = Date.now() + 15_000;
    while (got.length < n && Date.now() < deadline) {
      const page = await this.receive(url, { MaxNumberOfMessages: 10, WaitTimeSeconds: 1, ...rest });
      atMost(page.length, 10, 'messages in one receive');
      got.push(...page);
    }
    equal(got.length, n, 'number of messages received');
    return got;
  }

  hide(url, message, seconds) {
    const input = { QueueUrl: url, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: seconds };
    return this.call('ChangeMessageVisibility', input);
  }

  delete(url, message) {
    return this.call('DeleteMessage', { QueueUrl: url, ReceiptHandle: message.ReceiptHandle });
  }

  // fails checks that a call is refused. code is the one of the query protocol,
  // which v2 reports as code and v3 as Code; type is the one in the JSON body, for
  // which v3 has a class of that name, or else it names the error as the code.
  async fails(code, type, action, input, ...statuses) {
    const error = await this.call(action, input).then(() => null, (err) => err);
    if (error === null) throw new Error(`${action} succeeded, want ${code}`);
    const what = `error of ${action} (${error.message})`;
    if (this.kind === 'v3') {
      const known = this.library.sdk[type];
      equal([error.Code, error.name], [code, known ? type : code], what + ', code and name');
      equal(error instanceof (known ?? this.library.sdk.SQSServiceException), true, what + ' has its class');
      equal(error.$fault, 'client', what + ', whose fault it is');
    } else {
      equal(error.code, code, what + ', code');
    }
    const status = error.$metadata?.httpStatusCode ?? error.statusCode;
    equal((statuses.length ? statuses : [400]).includes(status), true, what + `, HTTP status ${status} is one of ${statuses}`);
  }
}

function equal(got, want, what) {
  if (!isDeepStrictEqual(got, want)) throw new Error(`${what}: got ${shown(got)}, want ${shown(want)}`);
}

function atMost(got, limit, what) {
  if (!(got <= limit)) throw new Error(`${what}: got ${shown(got)}, want at most ${shown(limit)}`);
}

function atLeast(got, limit, what) {
  if (!(got >= limit)) throw new Error(`${what}: got ${shown(got)}, want at least ${shown(limit)}`);
}

function shown(value) {
  const text = inspect(value, { depth: 6, breakLength: Infinity });
  return text.length <= 400 ? text : `${text.slice(0, 400)}... (${text.length} characters)`;
}

module.exports = { CLIENTS, Session, equal, atMost, atLeast };
