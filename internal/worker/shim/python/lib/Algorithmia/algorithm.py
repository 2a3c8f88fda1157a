"""Calls of other algorithms."""

import base64
import json
import re
from enum import Enum

from Algorithmia.client import SILENCE, json_of
from Algorithmia.errors import AlgorithmException, ApiError

OutputType = Enum("OutputType", "default raw void")


class Algorithm:
    def __init__(self, client, ref):
        found = re.match(r"(?:algo:/?/)?/?([\w-]+/.+)", ref)
        if found is None:
            raise ValueError("Invalid algorithm URI: " + ref)
        self.client = client
        self.path = found.group(1)
        self.username, self.algoname = self.path.split("/")[:2]
        self.url = "/v1/algo/" + self.path
        self.query_parameters = {}
        self.output_type = OutputType.default

    def set_options(self, timeout=300, stdout=False, output=OutputType.default, **query_parameters):
        self.query_parameters = dict({"timeout": timeout, "stdout": stdout}, **query_parameters)
        self.output_type = output
        return self

    def pipe(self, input1):
        """Calls the algorithm and returns its AlgoResponse."""
        query = dict(self.query_parameters)
        if self.output_type is not OutputType.default:
            query["output"] = self.output_type.name
        silence = int(query.get("timeout", 300)) + SILENCE
        response = self.client.send("POST", self.url, *_body(input1), query=query, timeout=silence)
        if self.output_type is OutputType.raw and response.status == 200:
            with response:
                raw = response.read()
            return raw if response.headers.get_content_type() == "application/octet-stream" else raw.decode()
        if not 200 <= response.status < 300:
            answer = _error_of(response)
        else:
            answer = json_of(response)
        if "error" in answer:
            raise _exception(answer["error"])
        if self.output_type is OutputType.void:
            return AsyncResponse(answer)
        return AlgoResponse.create_algo_response(answer)


def _body(value):
    if isinstance(value, str):
        return value.encode(), "text/plain"
    if isinstance(value, (bytes, bytearray)):
        return bytes(value), "application/octet-stream"
    return json.dumps(value).encode(), "application/json"


def _error_of(response):
    status = response.status
    try:
        answer = json_of(response)
    except ApiError as error:
        return {"error": {"message": str(error)}}
    if isinstance(answer, dict) and "error" in answer:
        return answer
    return {"error": {"message": "status %d" % status}}


def _exception(error):
    if not isinstance(error, dict):
        return AlgorithmException(str(error))
    stack = error.get("stacktrace", error.get("stack_trace"))
    return AlgorithmException(error.get("message", "the call failed"), stack, error.get("error_type"))


class AlgoResponse:
    def __init__(self, result, metadata):
        self.result = result
        self.metadata = metadata

    def __repr__(self):
        return "AlgoResponse(result=%s,metadata=%s)" % (self.result, self.metadata)

    @staticmethod
    def create_algo_response(answer):
        metadata = Metadata(answer.get("metadata") or {})
        result = answer.get("result")
        if metadata.content_type == "binary":
            result = base64.b64decode(result)
        return AlgoResponse(result, metadata)


class Metadata:
    def __init__(self, metadata):
        self.full_metadata = metadata
        self.content_type = metadata.get("content_type")
        self.duration = metadata.get("duration")
        self.stdout = metadata.get("stdout")

    def __repr__(self):
        return "Metadata(content_type=%s,duration=%s,stdout=%s)" % (self.content_type, self.duration, self.stdout)


class AsyncResponse:
    def __init__(self, answer):
        self.async_protocol = answer.get("async_protocol", answer.get("async"))
        self.request_id = answer.get("request_id")
