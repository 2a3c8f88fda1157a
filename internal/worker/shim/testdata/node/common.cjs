exports.handler = (event) => 'cjs ' + event;
