// A session of Algorithmia's own client for Node, unmodified, against a server
// that speaks Algorithmia's API.
//
// Usage: node algorithmia.js FOLDER PREFIX [--signed]
//
// FOLDER has the client in its node_modules. PREFIX begins the names of what is
// made. The server's address is in ALGORITHMIA_API, an admin key of the account
// default in ALGORITHMIA_API_KEY: the client finds both there. Steps are reported
// as those of session.js are.
'use strict';

const assert = require('node:assert/strict');
const { createRequire } = require('node:module');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const HELLO = `from Algorithmia import ADK

def apply(input):
    if input == "fail":
        raise Exception("as asked")
    if isinstance(input, (bytes, bytearray)):
        return bytes(reversed(input))
    return input

ADK(apply).init("Algorithmia")
`;

// The client calls back with (answer, status), with (error, answer), or with one value.
const answers = (call) => new Promise((resolve) => { call((body, status) => resolve({ body, status })); });
const value = (call) => new Promise((resolve, reject) => { call((err, data) => (err ? reject(err) : resolve(data))); });

// request is what the client has no call for.
async function request(method, where, body, type = 'application/json') {
  const response = await fetch(process.env.ALGORITHMIA_API + where, {
    method, body, headers: { Authorization: `Simple ${process.env.ALGORITHMIA_API_KEY}`, 'Content-Type': type },
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${where}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

const steps = {
  async directories({ client, name }) {
    const dir = client.dir(`data://.my/${name}`);
    assert.equal((await answers((f) => dir.exists(f))).body, false);
    const made = await answers((f) => dir.create(f));
    assert.equal(made.status, 200);
    assert.equal((await answers((f) => dir.exists(f))).body, true);
    const gone = await answers((f) => dir.delete(false, f));
    assert.deepEqual([gone.status, gone.body], [200, { result: { deleted: 1 } }]);
    const again = await answers((f) => dir.delete(false, f));
    assert.equal(again.status, 404);
    assert.ok(again.body.error.message);
  },

  async files({ client, name }) {
    const dir = client.dir(`data://.my/${name}`);
    await answers((f) => dir.create(f));
    const text = dir.file('a.txt');
    assert.equal((await answers((f) => text.exists(f))).body, false);
    const put = await answers((f) => text.putString('grüße', f));
    assert.deepEqual([put.status, put.body], [200, { result: `data://default/${name}/a.txt` }]);
    assert.equal((await answers((f) => text.exists(f))).body, true);
    assert.equal((await answers((f) => text.getString(f))).body, 'grüße');
    await answers((f) => dir.file('b.json').putJson(JSON.stringify({ a: [1, 'ü'] }), f));
    assert.deepEqual((await answers((f) => dir.file('b.json').getJson(f))).body, { a: [1, 'ü'] });
    const bytes = Buffer.from(Array.from({ length: 70000 }, (_, i) => i % 256));
    await answers((f) => dir.file('c').put(bytes, f));
    assert.ok(bytes.equals(await value((f) => dir.file('c').get(f))));
    const local = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'session-')), 'd.bin');
    fs.writeFileSync(local, bytes);
    await answers((f) => dir.putFile(local, f));
    assert.ok(bytes.equals(await value((f) => dir.file('d.bin').get(f))));
    fs.rmSync(path.dirname(local), { recursive: true });
    await assert.rejects(value((f) => dir.file('none').get(f)));
    const names = [];
    await new Promise((resolve) => { dir.forEachFile((err, file) => names.push(file.basename())).then(resolve); });
    assert.deepEqual(names.sort(), ['a.txt', 'b.json', 'c', 'd.bin']);
    assert.equal((await answers((f) => dir.delete(false, f))).status >= 400, true);
    const gone = await answers((f) => text.delete(f));
    assert.deepEqual(gone.body, { result: { deleted: 1 } });
    assert.equal((await answers((f) => dir.delete(true, f))).status, 200);
  },

  async calls({ client, name }) {
    const environments = (await request('GET', '/v1/algorithm-environments/edge/languages/python3/environments')).environments;
    const owner = '/v1/algorithms/default';
    await request('POST', owner, JSON.stringify({ name, details: { label: name }, settings: { license: 'apl', network_access: 'full', source_visibility: 'open', algorithm_environment: environments[0].id } }));
    await request('PUT', `${owner}/${name}/source/src/${name}.py`, HELLO, 'text/plain');
    await request('POST', `${owner}/${name}/compile`, '{}');
    await request('POST', `${owner}/${name}/version`, JSON.stringify({ version_info: { version_type: 'minor' }, settings: { algorithm_callability: 'public' } }));
    const algo = `default/${name}`;
    const call = (input, how = 'pipe', where = algo) => new Promise((resolve) => { client.algo(where)[how](input).then(resolve); });
    assert.equal((await call('Ada')).get(), 'Ada');
    assert.deepEqual((await call({ a: [1, null] })).get(), { a: [1, null] });
    assert.deepEqual((await call('[1, 2]', 'pipeJson')).get(), [1, 2]);
    assert.ok(Buffer.from([3, 2, 1]).equals((await call(Buffer.from([1, 2, 3]))).get()));
    assert.equal((await call('Ada', 'pipe', `${algo}/0.1.0`)).get(), 'Ada');
    const failed = await call('fail');
    assert.equal(failed.error.message, 'as asked');
    assert.throws(() => failed.get(), (err) => err === 'as asked');
    const none = await call('Ada', 'pipe', `${algo}none`);
    assert.ok(none.error.message);
  },
};

async function main(folder, prefix) {
  const library = createRequire(path.join(path.resolve(folder), 'session.js'));
  const client = library('algorithmia').client();
  console.log(`version ${library('algorithmia/package.json').version}`);
  let failed = 0;
  const all = Object.entries(steps);
  for (const [i, [name, run]] of all.entries()) {
    try {
      await run({ client, name: `n${i}_${prefix.replace(/-/g, '_').slice(-12)}` });
      console.log(`ok ${name}`);
    } catch (err) { // every step reports, whatever went wrong in it
      failed++;
      console.error(err);
      console.log(`FAIL ${name}: ${String(err).replace(/\n/g, ' ')}`);
    }
  }
  console.log(`done ${all.length}`);
  process.exitCode = failed ? 1 : 0;
}

main(...process.argv.slice(2));
