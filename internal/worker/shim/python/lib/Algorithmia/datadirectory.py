"""Directories of the data API."""

import json
import os
import tempfile

from Algorithmia.acl import Acl
from Algorithmia.client import json_of, message_of
from Algorithmia.data import DataObject, DataObjectType
from Algorithmia.datafile import DataFile
from Algorithmia.errors import DataApiError


class DataDirectory(DataObject):
    def __init__(self, client, uri):
        super().__init__(client, uri, DataObjectType.directory)

    def set_attributes(self, attributes):
        pass

    def exists(self):
        with self.client.send("GET", self.url) as response:
            return response.status == 200

    def create(self, acl=None):
        parent, _, name = self.path.rpartition("/")
        what = {"name": name}
        if acl is not None:
            what["acl"] = acl.to_api_param()
        self._do("POST", "/v1/data/" + parent, what)

    def delete(self, force=False):
        self._do("DELETE", self.url, query={"force": "true"} if force else None)
        return True

    def file(self, name, cleanup=True):
        return DataFile(self.client, self._child(name))

    def dir(self, name):
        return DataDirectory(self.client, self._child(name))

    def files(self):
        return (one for one in self.list() if one.is_file())

    def dirs(self):
        return (one for one in self.list() if one.is_dir())

    def list(self):
        marker = None
        while True:
            response = self.client.send("GET", self.url, query={"marker": marker} if marker else None)
            if response.status != 200:
                raise DataApiError("Directory iteration failed: " + message_of(response))
            page = json_of(response)
            for one in page.get("folders") or ():
                yield self.dir(one["name"])
            for one in page.get("files") or ():
                file = self.file(one["filename"])
                file.set_attributes(one)
                yield file
            marker = page.get("marker")
            if not marker:
                return

    def getDir(self):
        """A local directory with copies of the files."""
        directory = tempfile.mkdtemp()
        for file in self.files():
            os.rename(file.getFile(as_path=True), os.path.join(directory, file.getName()))
        return directory

    def get_permissions(self):
        response = self.client.send("GET", self.url, query={"acl": "true"})
        if response.status != 200:
            raise DataApiError("Unable to get permissions: " + message_of(response))
        page = json_of(response)
        return Acl.from_acl_response(page["acl"]) if "acl" in page else None

    def update_permissions(self, acl):
        self._do("PATCH", self.url, {"acl": acl.to_api_param()})
        return True

    def _child(self, name):
        return self.path + "/" + name if self.path else name

    def _do(self, method, url, what=None, query=None):
        body = None if what is None else json.dumps(what).encode()
        response = self.client.send(method, url, body, None if body is None else "application/json", query)
        status, said = response.status, message_of(response)
        if status != 200:
            raise DataApiError(said)
