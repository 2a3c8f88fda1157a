exports.number = 3;
exports.Kind = class {};
