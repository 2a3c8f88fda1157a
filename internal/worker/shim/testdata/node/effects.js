'use strict';

// What a handler does besides returning.

const fs = require('node:fs');
const { spawn, spawnSync } = require('node:child_process');

exports.prints = (event) => {
  console.log('out', event, 'ü');
  console.error('err', event);
  return event;
};
exports.floods = (event) => {
  console.log('x'.repeat(event));
  return event;
};
exports.writes = (event) => {
  fs.writeSync(1, 'result x 1 json:2\n{}\n');
  return event;
};
exports.closes = (event) => {
  fs.closeSync(1);
  console.log('nobody reads this');
  return event;
};
exports.contextLogs = (event, context) => {
  context.log('plain\nlines');
  context.log('warning', 'ü');
  const wait = setInterval(() => {
    if (!fs.existsSync(process.env.GATE)) return;
    clearInterval(wait);
    context.log('error', 'late');
  }, 5);
  return event;
};
exports.descriptors = () => {
  const out = spawnSync('/bin/sh', ['-c', 'for fd in /proc/self/fd/*; do readlink $fd; done']);
  return out.stdout.toString().trim().split('\n');
};
exports.terminates = async () => {
  process.kill(process.pid, 'SIGTERM');
  const child = spawn('sleep', ['60']);
  child.kill('SIGTERM');
  return new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal)));
};

process.on('exit', () => console.log('bye'));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

exports.gated = async (event, context) => {
  context.log('waiting');
  while (!fs.existsSync(process.env.GATE)) await pause(5);
  await pause(5); // frames that came before the gate are read by now
  return event;
};
