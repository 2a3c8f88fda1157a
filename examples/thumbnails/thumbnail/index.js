// Plans a thumbnail: what comes in is the message, what is returned goes on.

const WIDTH = 128;

exports.handler = (image) => {
  if (!(image.width > 0)) {
    throw new RangeError(`${image.name} has no width`);
  }
  console.log("thumbnail of", image.name); // runnel logs shows it
  return { name: image.name, width: WIDTH, height: Math.round((image.height * WIDTH) / image.width) };
};
