"""Files of the data API."""

import json
import os
import shutil
import tempfile
from datetime import datetime

from Algorithmia.client import message_of
from Algorithmia.data import DataObject, DataObjectType
from Algorithmia.errors import DataApiError


class DataFile(DataObject):
    def __init__(self, client, uri):
        super().__init__(client, uri, DataObjectType.file)
        self.size = None
        self.last_modified = None

    def set_attributes(self, attributes):
        self.size = attributes["size"]
        self.last_modified = datetime.strptime(attributes["last_modified"], "%Y-%m-%dT%H:%M:%S.%fZ")

    def _get(self):
        response = self.client.send("GET", self.url)
        if response.status != 200:
            raise DataApiError("unable to get file %s - %s" % (self.path, message_of(response)))
        return response

    def getFile(self, as_path=False):
        """A local copy: an open file, or its path."""
        with self._get() as response, tempfile.NamedTemporaryFile(delete=False) as copy:
            shutil.copyfileobj(response, copy)
        return copy.name if as_path else open(copy.name)

    def getBytes(self):
        with self._get() as response:
            return response.read()

    def getString(self):
        return self.getBytes().decode()

    def getJson(self):
        return json.loads(self.getBytes())

    def exists(self):
        return self.existsWithError()[0]

    def existsWithError(self):
        response = self.client.send("HEAD", self.url)
        return response.status == 200, message_of(response)

    def put(self, data):
        if isinstance(data, str):
            data = data.encode()
        if not isinstance(data, (bytes, bytearray)):
            raise TypeError("Must put strings or binary data. Use putJson instead")
        return self._put(bytes(data), "application/octet-stream")

    def putJson(self, data):
        return self._put(json.dumps(data).encode(), "application/json")

    def putFile(self, path):
        with open(path, "rb") as file:
            return self._put(file, "application/octet-stream", os.fstat(file.fileno()).st_size)

    def _put(self, body, type, length=None):
        response = self.client.send("PUT", self.url, body, type, length=length)
        status, said = response.status, message_of(response)
        if status != 200:
            raise DataApiError(said)
        return self

    def delete(self):
        response = self.client.send("DELETE", self.url)
        status, said = response.status, message_of(response)
        if status != 200:
            raise DataApiError(said)
        return True
