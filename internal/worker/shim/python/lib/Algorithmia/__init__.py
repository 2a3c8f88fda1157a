"""Algorithmia's client, as far as algorithms use it from within.

It is at the end of sys.path, so that the real client is taken where a function
has installed it. It needs nothing but the standard library, and covers files,
directories and calls; what it does not have, the real one has.
"""

from Algorithmia.client import Client
from runnel_adk import ADK, handler

__all__ = ["ADK", "Client", "algo", "client", "dir", "file", "handler"]

# What a program may set before it takes the default client.
apiKey = None
apiAddress = None


def client(api_key=None, api_address=None, ca_cert=None, bearer_token=None):
    return Client(api_key, api_address, ca_cert, bearer_token)


def algo(ref):
    return Client(apiKey).algo(ref)


def file(uri):
    return Client(apiKey).file(uri)


def dir(uri):
    return Client(apiKey).dir(uri)
