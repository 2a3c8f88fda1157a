const wait = await Promise.resolve('awaited ');
export const handler = (event) => wait + event;
