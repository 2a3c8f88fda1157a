def none():
    pass


def three(a, b, c):
    pass


def keyword(event, *, context):
    pass


class Kind:
    pass


number = 3
