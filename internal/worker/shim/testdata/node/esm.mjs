export const handler = async (event) => 'mjs ' + event;
