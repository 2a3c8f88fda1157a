exports.handler = async (event) => null
