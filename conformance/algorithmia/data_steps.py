"""Collections and files."""

import os
import tempfile

from Algorithmia.acl import ReadAcl
from Algorithmia.errors import DataApiError

from setting import expect, raises


def directories(s):
    client = s.client
    expect(client.username(), "default", "username(), the first of data://")
    d = client.dir(f"data://.my/{s.name}")
    expect(d.exists(), False, "exists before create")
    d.create()
    expect(d.exists(), True, "exists after create")
    expect(client.dir(f"data://default/{s.name}/").exists(), True, "with a slash at its end, by the account's name")
    expect(s.name in [x.getName() for x in client.dir("data://.my").dirs()], True, "is listed")
    raises(Exception, d.create)
    d.file("a.txt").put("a")
    raises(DataApiError, d.delete)
    expect(d.delete(force=True), True, "delete with force")
    expect(d.exists(), False, "exists after delete")
    answer = s.request("POST", "/v1/data/.my", data=s.name + "t", headers={"Content-Type": "text/plain"})
    expect(answer.status_code, 200, "a directory by its bare name")
    answer = s.request("DELETE", f"/v1/data/.my/{s.name}t")
    expect((answer.status_code, answer.text), (200, '{"result":{"deleted":1}}'), "DELETE of an empty directory")
    answer = s.request("HEAD", f"/v1/data/.my/{s.name}t")
    expect(answer.status_code, 404, "HEAD of what is not there")
    expect(bool(answer.headers.get("X-Error-Message")), True, "X-Error-Message")


def files(s):
    d = s.client.dir(f"data://.my/{s.name}")
    d.create()
    f = d.file("text.txt")
    expect(f.exists(), False, "exists before put")
    raises(DataApiError, f.getString)
    f.put("grüße")
    expect(f.exists(), True, "exists after put")
    expect(f.getString(), "grüße", "getString")
    expect(f.getBytes(), "grüße".encode(), "getBytes")
    with f.getFile() as local:
        expect(open(local.name, encoding="utf-8").read(), "grüße", "getFile")
    f.put("again")
    expect(f.getString(), "again", "what replaced it")
    j = d.file("j.json")
    j.putJson({"a": [1, 2.5, None, "ü"]})
    expect(j.getJson(), {"a": [1, 2.5, None, "ü"]}, "getJson")
    b = d.file("bytes")
    data = bytes(range(256)) * 4000
    b.put(data)
    expect(b.getBytes(), data, "a megabyte of bytes")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "up.bin")
        with open(path, "wb") as out:
            out.write(data)
        d.file("up.bin").putFile(path)
        expect(d.file("up.bin").getBytes(), data, "putFile")
    answer = s.request("GET", f"/v1/data/.my/{s.name}/bytes", headers={"Range": "bytes=10-19", "Accept": "application/octet-stream"})
    expect((answer.status_code, answer.content), (206, data[10:20]), "a range")
    answer = s.request("GET", f"/v1/connector/data/.my/{s.name}/bytes/")
    expect((answer.status_code, answer.headers["X-Data-Type"]), (200, "file"), "by its connector")
    expect(b.delete(), True, "delete")
    expect(b.exists(), False, "exists after delete")
    raises(Exception, lambda: s.client.file(f"data://.my/{s.name}no/a").put("x"))
    d.delete(force=True)


def listing(s):
    d = s.client.dir(f"data://.my/{s.name}")
    d.create()
    names = {f"file-{i:04d}" for i in range(1100)}
    for name in sorted(names):
        d.file(name).put(name)
    found = {}
    for f in d.files():
        found[f.getName()] = f
    expect(set(found), names, "the names of 1,100 files")
    expect(found["file-0007"].size, 9, "size")
    expect(found["file-0007"].last_modified.year >= 2026, True, "last_modified")
    expect(list(d.dirs()), [], "dirs")
    answer = s.request("DELETE", f"/v1/data/.my/{s.name}?force=true")
    expect(answer.json()["result"]["deleted"] >= 1, True, "deleted")


def permissions(s):
    """What the lists of readers mean, with the key of another account."""
    other = s.client.create_user({"username": s.name + "u", "email": s.name + "@example.com", "passwordHash": "", "shouldCreateHello": False})
    keys = s.request("POST", f"/v1/users/{other['username']}/keys", json={
        "key_label": "reads", "key_type": "AlgorithmKey", "permissions": {"allow_data": True, "allow_data_write": True, "allow_algo": True, "algo_acl": ["algo://*"]},
    })
    expect(keys.status_code in (200, 201), True, f"a key of the other: {keys.status_code} {keys.text}")
    key = keys.json()["api_key"]

    d = s.client.dir(f"data://.my/{s.name}")
    d.create()
    expect(d.get_permissions().read_acl, ReadAcl.my_algos.read_acl, "who reads by default")
    d.file("a").put("a")

    def read():
        return s.request("GET", f"/v1/data/default/{s.name}/a", key=key).status_code

    expect(read() in (403, 404), True, "another account reads what is for my algorithms")
    expect(d.update_permissions(ReadAcl.public), True, "made public")
    expect(read(), 200, "another account reads what is public")
    expect(s.request("PUT", f"/v1/data/default/{s.name}/a", key=key, data=b"b").status_code in (403, 404), True, "another account writes")
    expect(d.update_permissions(ReadAcl.private), True, "made private")
    expect(read() in (403, 404), True, "another account reads what is private")
    d.delete(force=True)
