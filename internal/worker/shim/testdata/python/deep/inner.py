def handler(event):
    return "deep " + event
