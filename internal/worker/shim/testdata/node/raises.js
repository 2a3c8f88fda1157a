function prepare() {
  return undefined.table;
}

exports.table = prepare();
