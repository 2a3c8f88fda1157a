// A state machine: the router looks at a record, and picks the step that gives
// it its next state. Null says that there is no next one.

const steps = [
  { missing: "greeting", take: (record) => ({ ...record, greeting: "hello" }) },
  { missing: "name", take: (record) => ({ ...record, name: "world" }) },
];

exports.handler = (record) => {
  const step = steps.find(({ missing }) => !(missing in record));
  return step ? step.take(record) : null;
};
