'use strict';

// What handlers do when several of their calls are in flight.

const gates = new Map();

function gate(name) {
  if (!gates.has(name)) {
    const one = {};
    one.opened = new Promise((resolve) => (one.open = resolve));
    gates.set(name, one);
  }
  return gates.get(name);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// {hold: NAME} prints and waits; {release: NAME} lets it go on.
exports.talk = async (event, context) => {
  if (event.release) {
    gate(event.release).open();
    return null;
  }
  const name = event.hold;
  console.log('begin', name);
  process.stdout.write('half of '); // the rest of the line comes after the wait
  console.error('error', name);
  await child(name);
  const cancelled = new Promise((_, reject) => {
    context.signal.addEventListener('abort', () => {
      console.log(name);
      reject(context.signal.reason);
    });
  });
  context.log('debug', `holding ${name}`);
  await Promise.race([gate(name).opened, cancelled]);
  console.log(name);
  await pause(1);
  console.error('logged', name);
  process.stdout.write(`end ${name}`);
  if (event.fail) throw new RangeError(`no ${name}`);
  return name;
};

async function child(name) {
  await null;
  console.log('child of', name);
}

// The rejection that nobody handles is one call's; the others wait for more.
exports.dangling = async (event) => {
  if (event.release) {
    gate(event.release).open();
    return null;
  }
  console.log('in', event.hold);
  await gate(event.hold).opened;
  if (event.fail) Promise.reject(new RangeError(`nobody looks at ${event.hold}`));
  await pause(1);
  return event.hold;
};

// Leaves something behind that prints after the call.
exports.late = async (event) => {
  if (event !== 'release') {
    gate('late').opened.then(() => console.log('after', event));
    return;
  }
  gate('late').open();
  await pause(1);
};

exports.crash = async (event) => {
  if (event === 'crash') process.exit(9);
  console.log('waiting', event);
  await new Promise(() => {});
};

exports.signal = async (event, context) => {
  context.log('waiting');
  await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
  return context.signal.aborted;
};

exports.callback = (event, context, callback) => {
  console.log('called', event);
  setTimeout(() => callback(null, event), 1);
};

exports.echo = (event) => event;
exports.soon = async (event) => event;

console.log('loading');
