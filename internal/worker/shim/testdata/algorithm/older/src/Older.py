"""An algorithm from before the ADK: apply, and load without a word about it."""

from . import words

state = {}


def load():
    state["words"] = words.WORDS


def apply(input):
    if not isinstance(input, str):
        raise TypeError("want a text")
    return state["words"][0] + " " + input
