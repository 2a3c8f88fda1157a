"""A state machine: the router looks at a record, and picks the step that gives
it its next state. None says that there is no next one.
"""


def add_greeting(record):
    return {**record, "greeting": "hello"}


def add_name(record):
    return {**record, "name": "world"}


STEPS = {"greeting": add_greeting, "name": add_name}


def handler(record):
    for missing, step in STEPS.items():
        if missing not in record:
            return step(record)
    return None
