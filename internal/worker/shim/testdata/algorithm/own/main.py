"""A module of the user's own that happens to be named adk is theirs."""

import adk
from Algorithmia import ADK


def apply(input):
    return [adk.NAME, input]


ADK(apply).init()
