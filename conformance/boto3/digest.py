"""The digest that SQS gives for a message's attributes."""

import hashlib
import struct


def of_attributes(attributes):
    """MD5OfMessageAttributes: over the attributes sorted by name, each as
    length and name, length and type, one byte that says text (1) or binary
    (2), length and value. Lengths are 4 bytes, big end first."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, attribute in sorted(attributes.items()):
        _add(digest, name.encode())
        _add(digest, attribute["DataType"].encode())
        if attribute["DataType"].split(".")[0] == "Binary":
            digest.update(b"\x02")
            _add(digest, attribute["BinaryValue"])
        else:
            digest.update(b"\x01")
            _add(digest, attribute["StringValue"].encode())
    return digest.hexdigest()


def of_body(body):
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def _add(digest, value):
    digest.update(struct.pack(">I", len(value)))
    digest.update(value)
