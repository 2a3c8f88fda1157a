import fs from 'node:fs';

export const handler = (event) => typeof fs.readFileSync + ' ' + event;
