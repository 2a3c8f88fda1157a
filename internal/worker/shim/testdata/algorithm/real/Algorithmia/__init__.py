"""Stands for the real client: its ADK is the other package's."""

from adk import ADK
from Algorithmia import errors


def client():
    return "the real client"


def handler(apply, load=None):
    raise RuntimeError("the real handler reads standard input")
