"""Plans a thumbnail: what comes in is the message, what is returned goes on."""

WIDTH = 128


def handler(image):
    height = round(WIDTH / image["width"] * image["height"])
    print("thumbnail of", image["name"])  # runnel logs shows it
    return {"name": image["name"], "width": WIDTH, "height": height}
