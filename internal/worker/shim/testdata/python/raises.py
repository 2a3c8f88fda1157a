def prepare():
    return {}["table"]


TABLE = prepare()


def handler(event):
    return event
