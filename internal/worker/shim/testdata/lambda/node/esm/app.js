import { readFile } from 'node:fs/promises';

const words = JSON.parse(await readFile(new URL('./package.json', import.meta.url)));

export const handler = async (event) => [words.type, event];
export default { inside: async (event) => ['default', event] };
