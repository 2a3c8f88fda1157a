"""The walkthrough of event flows with a queue, from nothing to the file."""

from setting import expect, until

# The source of the walkthrough, as it is printed there.
PROGRAM = '''import Algorithmia
from Algorithmia import ADK

def apply(input):
    Algorithmia.client().file("data://COLLECTION_OWNER/COLLECTION_NAME/" + input.get("filename")).put(input.get("data"))

algorithm = ADK(apply)
algorithm.init("Algorithmia")
'''


def walkthrough(s):
    algo, _ = s.algorithm(PROGRAM.replace("COLLECTION_OWNER", "default").replace("COLLECTION_NAME", s.name))
    d = s.client.dir(f"data://default/{s.name}")
    d.create()
    queue = s.sqs("CreateQueue", {"QueueName": s.name.replace("_", "-")})["QueueUrl"]
    user = s.request("GET", "/v1/users/default").json()["id"]
    base = f"/v1/users/{user}/event-listeners"
    made = s.request("POST", base, json={
        "sourceType": "AmazonSQS", "sourceURI": queue, "algoOwner": "default", "algoName": s.name,
        "credentials": "arn:aws:iam::123456789012:role/READ_SQS",
    })
    expect(made.status_code, 200, f"status of the new listener: {made.text}")
    listener = made.json()
    expect((listener["sourceURI"], listener["algoName"], listener["listenerOwner"]), (queue, s.name, "default"), "the listener")
    expect(listener["id"] in [l["id"] for l in s.request("GET", base).json()], True, "is listed")

    s.sqs("SendMessage", {"QueueUrl": queue, "MessageBody": '{\n"filename": "some-new-file.txt",\n"data": "file contents to store"\n}'})
    f = d.file("some-new-file.txt")
    until("the file is there", f.exists)
    expect(f.getString(), "file contents to store", "the file")

    changed = s.request("PUT", f"{base}/{listener['id']}", json={
        "sourceType": "AmazonSQS", "sourceURI": queue, "algoOwner": "default", "algoName": s.name, "algoVersion": "0.1.0",
        "algoTimeoutSeconds": 30, "credentials": "arn:aws:iam::123456789012:role/READ_SQS",
    })
    expect((changed.status_code, changed.json()["algoVersion"]), (200, "0.1.0"), "the listener after a change")
    s.sqs("SendMessage", {"QueueUrl": queue, "MessageBody": '{"filename": "second.txt", "data": "by a number"}'})
    until("the second file is there", d.file("second.txt").exists)
    gone = s.request("DELETE", f"{base}/{listener['id']}")
    expect((gone.status_code, gone.text), (200, ""), "delete of the listener")
    expect(s.request("GET", f"{base}/{listener['id']}").status_code in (403, 404), True, "after the delete")
