"""The connection to the API. urllib is imported with the first request: it is large."""

import json
import os

from Algorithmia.errors import ApiError

# How long a request for data may be silent, in seconds.
SILENCE = 300


class Client:
    def __init__(self, apiKey=None, apiAddress=None, caCert=None, bearerToken=None):
        import Algorithmia

        self.apiKey = apiKey or os.environ.get("ALGORITHMIA_API_KEY")
        self.bearerToken = bearerToken or os.environ.get("ALGORITHMIA_BEARER_TOKEN")
        self.apiAddress = apiAddress or Algorithmia.apiAddress or os.environ.get("ALGORITHMIA_API")
        self.caCert = caCert

    def algo(self, ref):
        from Algorithmia.algorithm import Algorithm

        return Algorithm(self, ref)

    def file(self, uri, cleanup=False):
        from Algorithmia.datafile import DataFile

        return DataFile(self, uri)

    def dir(self, uri):
        from Algorithmia.datadirectory import DataDirectory

        return DataDirectory(self, uri)

    def username(self):
        return next(self.dir("").dirs()).path

    def send(self, method, path, body=None, type=None, query=None, timeout=SILENCE, length=None):
        """Returns the response, of any status: status, headers, read().

        The caller closes it. length is that of a body that is a file.
        """
        import urllib.error
        import urllib.parse
        import urllib.request

        if not self.apiAddress:
            raise ApiError("the address of the API is not known: ALGORITHMIA_API is not set")
        url = self.apiAddress.rstrip("/") + urllib.parse.quote(path)
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url, data=body, method=method)
        if type is not None:
            request.add_header("Content-Type", type)
        if length is not None:
            request.add_header("Content-Length", str(length))
        if self.apiKey:
            request.add_header("Authorization", self.apiKey)
        elif self.bearerToken:
            request.add_header("Authorization", "Bearer " + self.bearerToken)
        try:
            return urllib.request.urlopen(request, timeout=timeout, context=self._context())
        except urllib.error.HTTPError as error:
            return error  # it is a response too
        except urllib.error.URLError as error:
            raise ApiError("%s %s: %s" % (method, url, error.reason)) from None

    def _context(self):
        if self.caCert is None:
            return None
        import ssl

        if self.caCert is False:
            return ssl._create_unverified_context()
        return ssl.create_default_context(cafile=self.caCert)


def json_of(response):
    """The JSON of a response, which is closed; an error for what is none."""
    with response:
        raw = response.read()
    try:
        return json.loads(raw)
    except ValueError:
        raise ApiError("the answer with status %d is not JSON: %.200r" % (response.status, raw)) from None


def message_of(response):
    """What a response says that is an error; it is closed."""
    with response:
        raw = response.read()
    told = response.headers.get("X-Error-Message")
    if told:
        return told
    try:
        error = json.loads(raw)["error"]
        return error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        return raw.decode("utf-8", "replace")[:200] or "status %d" % response.status
