'use strict';

// Finds the handler.

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');

const ENDS = ['.js', '.mjs', '.cjs', '/index.js', '/index.mjs', '/index.cjs'];

/** The handler is not where it should be, or is none. */
class LoadError extends Error {
  constructor(message) {
    super(message);
    this.name = 'LoadError';
    this.stack = ''; // it would be the worker's own
  }
}

/** Loads the module of MODULE.FUNCTION and returns its function. */
async function load(name) {
  const dot = name.lastIndexOf('.');
  if (dot <= 0 || dot === name.length - 1 || name[dot - 1] === '/') {
    throw new LoadError(`handler ${name} is not of the form MODULE.FUNCTION, as in index.handler`);
  }
  const [file, attributes] = place(name, dot);
  const module = await evaluate(file);
  const attribute = attributes.join('.');
  let call = pick(module, attributes[0]);
  for (const inner of attributes.slice(1)) call = call === undefined || call === null ? undefined : call[inner];
  const short = path.relative(process.cwd(), file);
  if (call === undefined) {
    throw new LoadError(`handler ${name}: ${short} does not export ${attribute}; ${exported(module)}`);
  }
  if (typeof call !== 'function') {
    throw new LoadError(`handler ${name} is of type ${typeof call}: it cannot be called`);
  }
  if (/^class\b/.test(Function.prototype.toString.call(call))) {
    throw new LoadError(`handler ${name} is a class: export a function`);
  }
  return call;
}

// Finds the file, and the path to the function in what it exports. A file may
// have dots in its name; if there is none of that name, what follows the first
// dot is the path, as in index.handlers.create.
function place(name, dot) {
  const first = name.indexOf('.', name.lastIndexOf('/') + 2);
  if (first < dot && !exists(path.resolve(name.slice(0, dot)))) {
    const base = path.resolve(name.slice(0, first));
    if (exists(base)) return [find(name, base), name.slice(first + 1).split('.')];
  }
  return [find(name, path.resolve(name.slice(0, dot))), [name.slice(dot + 1)]];
}

function exists(base) {
  return ENDS.some((end) => fs.existsSync(base + end));
}

function find(name, base) {
  for (const end of ENDS) {
    if (fs.existsSync(base + end)) return base + end;
  }
  const want = path.relative(process.cwd(), base);
  throw new LoadError(`handler ${name}: there is no file ${want}.js, .mjs or .cjs in the function's source`);
}

async function evaluate(file) {
  if (!isModule(file)) {
    try {
      return createRequire(file)(file);
    } catch (error) {
      // Newer Node finds out by itself that a file is a module, and may have to wait for it.
      if (!error || error.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    }
  }
  try {
    return await import(pathToFileURL(file));
  } catch (error) {
    locate(error, file);
    throw error;
  }
}

function isModule(file) {
  if (file.endsWith('.mjs')) return true;
  if (file.endsWith('.cjs')) return false;
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    const description = path.join(dir, 'package.json');
    if (fs.existsSync(description)) {
      try {
        return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
      } catch (error) {
        throw new LoadError(`${description}: ${error.message}`);
      }
    }
    if (dir === path.dirname(dir)) return false;
  }
}

// Puts file, line and caret of a syntax error into its stack. For modules only
// Node's own report has them.
function locate(error, file) {
  if (!(error instanceof SyntaxError) || /^file:|^\//.test(error.stack)) return;
  const { spawnSync } = require('node:child_process');
  const check = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5000 });
  if (check.status !== 0 && check.stderr && check.stderr.includes('SyntaxError')) {
    error.stack = check.stderr.replace(/\n\nNode\.js v[^\n]*\n*$/, '').trim();
  }
}

function pick(module, attribute) {
  if (module === null || (typeof module !== 'object' && typeof module !== 'function')) return undefined;
  if (attribute in module) return module[attribute];
  // What a module exports by default may be an object with the handler.
  const fallback = module.default;
  if (fallback !== null && typeof fallback === 'object' && attribute in fallback) return fallback[attribute];
  return undefined;
}

function exported(module) {
  const names = module !== null && typeof module === 'object' ? Object.keys(module) : [];
  return names.length > 0 ? `it exports ${names.slice(0, 20).join(', ')}` : 'it exports nothing';
}

module.exports = { load, LoadError };
