Promise.reject(new RangeError('at load'));
exports.handler = (event) => event;
