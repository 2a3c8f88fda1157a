from enum import Enum


class DataObjectType(Enum):
    file = 1
    directory = 2


class DataObject:
    """A file or a directory."""

    def __init__(self, client, uri, kind):
        self.client = client
        self.data_object_type = kind
        self.path = (uri[len("data://") :] if uri.startswith("data://") else uri).strip("/")
        self.url = "/v1/data/" + self.path

    def is_file(self):
        return self.data_object_type is DataObjectType.file

    def is_dir(self):
        return self.data_object_type is DataObjectType.directory

    def get_type(self):
        return self.data_object_type

    def getName(self):
        return self.path.rpartition("/")[2]
