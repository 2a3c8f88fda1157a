"""A session of hosted files, with whichever client is on the path. It prints
nothing if all is as it should be."""

import os
import tempfile

import Algorithmia
from Algorithmia.acl import AclType, ReadAcl

client = Algorithmia.client(os.environ["ALGORITHMIA_API_KEY"], os.environ["ALGORITHMIA_API"])


def same(got, want):
    if got != want:
        print("got %r, want %r" % (got, want))


def fails(call, *words):
    try:
        call()
    except Exception as error:
        for word in words:
            if word not in str(error):
                print("the error is %r, without %r" % (str(error), word))
    else:
        print("nothing fails that should, with", words)


same(client.username(), "default")
things = client.dir("data://.my/things")
same(things.exists(), False)
things.create(ReadAcl.private)
same(things.exists(), True)
fails(things.create)
same(things.get_permissions().read_acl == AclType.private, True)
same(things.update_permissions(ReadAcl.public), True)
same(things.get_permissions().read_acl == AclType.public, True)

file = things.file("t.txt")
same(file.exists(), False)
same(file.put("grüße").exists(), True)
same(file.getString(), "grüße")
same(file.getName(), "t.txt")
same(client.file("data://default/things/t.txt").getBytes(), "grüße".encode())
with file.getFile() as copy:
    same(copy.read(), "grüße")
same(things.file("j").putJson({"a": [1, "ü"]}).getJson(), {"a": [1, "ü"]})
large = os.urandom(300000)
with tempfile.NamedTemporaryFile() as local:
    local.write(large)
    local.flush()
    things.file("large").putFile(local.name)
same(things.file("large").getBytes() == large, True)
same([(f.getName(), f.size, f.last_modified.year > 2000) for f in things.files()], [("j", 20, True), ("large", 300000, True), ("t.txt", 7, True)])
same([d.getName() for d in client.dir("data://.my").dirs()], ["things"])

# More than one page.
for i in range(1100):
    things.file("%04d" % i).put(str(i))
same([f.getName() for f in things.files()][:1101], ["%04d" % i for i in range(1100)] + ["j"])

fails(client.file("data://.my/things/none").getString, "none is not there")
fails(lambda: client.file("data://.my/nothing/f").put("x"))
fails(client.dir("data://.my/nothing").delete, "nothing is not there")
fails(things.delete, "has files")
same(file.delete(), True)
same(file.exists(), False)
same(things.delete(True), True)
same(things.exists(), False)
