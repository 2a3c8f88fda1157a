export default { handler: (event) => 'default ' + event };
