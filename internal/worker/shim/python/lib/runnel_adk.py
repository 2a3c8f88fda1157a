"""Algorithmia's Algorithm Development Kit, as far as a worker needs it.

ADK(apply, load).init() tells the worker what to call, and returns: there is no
standard input to read, and no FIFO to write to.
"""

import hashlib
import json
import os

import runnel_errors
from runnel_errors import LoadError, describe
from runnel_load import Handler, arity, is_async
from runnel_values import encode

runnel_errors.SHIM.add(__file__)

MANIFEST = "model_manifest.json"

# The first program that was made, and the first that was started.
_made = None
_started = None


class ADK:
    """A program of an apply function and, perhaps, of a load function.

    apply takes the input, and as its second parameter what load returned. load
    takes nothing, or the ModelData. It runs once, before the worker is ready.
    """

    def __init__(self, apply_func, load_func=None, client=None):
        global _made
        least, most, kwonly = arity(apply_func) or (1, 1, 0)
        if most < 1 or least > 2 or kwonly:
            raise LoadError("apply has the wrong parameters: want (input) or (input, state)")
        if least == 2 and load_func is None:
            raise LoadError("apply takes a second parameter, which is what load returns; there is no load")
        self.apply_func = apply_func
        self.takes_state = most >= 2 and load_func is not None
        self.load_func = load_func
        if load_func is not None:
            least, most, kwonly = arity(load_func) or (0, 0, 0)
            if least > 1 or kwonly:
                raise LoadError("load has the wrong parameters: want () or (manifest)")
            self.load_takes_data = most >= 1
        self.client = client
        self.load_result = None
        if _made is None:
            _made = self

    def init(self, local_payload=None, pprint=print, mlops=False):
        """Starts the program. The payload is for a run without a platform, and not used."""
        global _started
        if mlops:
            raise LoadError("init(mlops=True) is not served: there is no MLOps agent here")
        if _started is None:
            _started = self

    def load(self):
        data = ModelData(self.client)
        if data.available():
            data.initialize()
        if self.load_func is not None:
            self.load_result = self.load_func(data) if self.load_takes_data else self.load_func()


class Older:
    """What Algorithmia.handler returns, the ADK's predecessor."""

    def __init__(self, program):
        self.program = program

    def serve(self):
        self.program.init()


def handler(apply_func, load_func=None):
    return Older(ADK(apply_func, load_func))


class Program(Handler):
    """How a worker calls an algorithm."""

    def __init__(self, adk):
        super().__init__(adk.apply_func, False, is_async(adk.apply_func))
        self.adk = adk

    def load(self):
        self.adk.load()
        if self.adk.takes_state:
            apply, state = self.adk.apply_func, self.adk.load_result
            self.call = lambda event: apply(event, state)

    @staticmethod
    def encode(value, format):
        return encode(value, b"text")  # a string is text, whatever the input was

    @staticmethod
    def describe(error):
        return describe(error, "AlgorithmError")

    @staticmethod
    def describe_load(error):
        return describe(error, "LoadingError")


def program(module, attribute, is_project):
    """The handler of a module that was imported; None if it is not an algorithm."""
    if _started is not None:
        return Program(_started)
    call = getattr(module, attribute, None)
    if _made is not None and call in (None, _made.apply_func):
        return Program(_made)  # its init is only run as a script
    if is_project and attribute == "apply" and callable(call):
        return Program(ADK(call, getattr(module, "load", None)))
    return None


class FileData:
    def __init__(self, md5_checksum, file_path):
        self.md5_checksum = md5_checksum
        self.file_path = file_path


class ModelData:
    """What load is given: the files of the model manifest, and room for the user's own."""

    def __init__(self, client):
        self._client = client
        self.using_frozen = False
        self.manifest_data = self.get_manifest()
        self.models = {}
        self.user_data = {}

    @property
    def client(self):
        if self._client is None:
            import Algorithmia

            self._client = Algorithmia.client()
        return self._client

    def __getitem__(self, key):
        return self.user_data[key]

    def __setitem__(self, key, value):
        self.user_data[key] = value

    def data(self):
        return dict(self.user_data)

    def available(self):
        return bool(self.manifest_data)

    def initialize(self):
        """Fetches the files that are required."""
        for one in self.manifest_data.get("required_files", ()):
            if one["name"] in self.models:
                raise ValueError("%s: two files have the name %s" % (MANIFEST, one["name"]))
            self._fetch(one)

    def get_model(self, name):
        """The path of a file of the manifest; an optional one is fetched now."""
        if not self.available():
            raise ValueError("there is no model %s, since there is no %s" % (name, MANIFEST))
        if name not in self.models:
            found = [one for one in self.manifest_data.get("optional_files", ()) if one["name"] == name]
            if not found:
                raise ValueError("%s has no model %s" % (MANIFEST, name))
            self._fetch(found[0])
        return self.models[name].file_path

    def _fetch(self, one):
        with self.client.file(one["source_uri"]).getFile() as file:
            path = file.name
        want, got = one.get("md5_checksum"), md5_of(path)
        # Only a frozen manifest has the sums that are meant to hold.
        if one.get("fail_on_tamper") and self.using_frozen and got != want:
            raise ValueError("the model file %s is not the one of the manifest: its MD5 is %s, not %s" % (one["name"], got, want))
        self.models[one["name"]] = FileData(got, path)

    def get_manifest(self):
        if os.path.exists(MANIFEST + ".freeze"):
            with open(MANIFEST + ".freeze") as file:
                manifest = json.load(file)
            want = manifest.pop("lock_checksum", None)
            if want != hashlib.md5(str(manifest).encode()).hexdigest():
                raise ValueError("%s.freeze was changed by hand: freeze it again" % MANIFEST)
            self.using_frozen = True
            return manifest
        if os.path.exists(MANIFEST):
            with open(MANIFEST) as file:
                return json.load(file)
        return None


def md5_of(path):
    digest = hashlib.md5()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
