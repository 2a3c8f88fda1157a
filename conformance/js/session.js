// A session of an unmodified AWS SDK for JavaScript against a server that
// speaks SQS.
//
// Usage: node session.js CLIENT FOLDER PREFIX [--signed]
//
// CLIENT is v3, v2 or v2-query, of which the last is a v2 from before the JSON
// protocol. FOLDER has the SDKs in its node_modules. PREFIX begins the name of
// every queue that is made, so that sessions can share a server. --signed adds
// the step that needs a server which verifies signatures. Endpoint, region and
// credentials come from the environment (AWS_ENDPOINT_URL_SQS, AWS_REGION,
// AWS_ACCESS_KEY_ID, ...).
//
// Each step makes its own queues and prints one line, "ok STEP" or
// "FAIL STEP: REASON"; the last line is "done N". The exit code is 1 if one
// failed. The SDKs themselves check the MD5 of every body.
'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');
const { CLIENTS, Session } = require('./client.js');

const steps = {
  ...require('./queue_steps.js'),
  ...require('./admin_steps.js'),
  ...require('./message_steps.js'),
  ...require('./batch_steps.js'),
  ...require('./fifo_steps.js'),
  ...require('./error_steps.js'),
};

async function main(kind, folder, prefix, ...flags) {
  const library = CLIENTS[kind](createRequire(path.join(path.resolve(folder), 'session.js')));
  console.log(`version ${library.version}`);
  let failed = 0;
  let done = 0;
  for (const [name, run] of Object.entries(steps)) {
    if (name === 'signature-errors' && !flags.includes('--signed')) continue;
    try {
      await run(new Session(kind, library, `${prefix}-${name}`));
      console.log(`ok ${name}`);
    } catch (err) { // every step reports, whatever went wrong in it
      failed++;
      console.error(err);
      console.log(`FAIL ${name}: ${String(err).replace(/\n/g, ' ')}`);
    }
    done++;
  }
  console.log(`done ${done}`);
  process.exitCode = failed ? 1 : 0;
}

main(...process.argv.slice(2));
