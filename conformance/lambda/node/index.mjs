// Handlers for AWS Lambda's runtime interface client, and for Runnel's worker.

const started = await Promise.resolve(true);

export const handler = async (event, context) => ({
  statusCode: 200,
  body: JSON.stringify(event),
  started,
  remaining: context.getRemainingTimeInMillis() > 0,
});

export const callback = (event, context, done) => {
  setTimeout(() => done(null, event), 1);
};

export const raises = async (event) => {
  throw new RangeError(event.key);
};

