"""Debian's awscli without AWS: what it would send is judged and written down, and a made-up answer comes back. aws_server.py
runs it in the place of `aws`.

Everything up to the request is awscli's own: options, file://, shorthand, required and unknown parameters, types. Lengths and
patterns, which botocore leaves to the service, are judged here by the service's model.

AWS_STUB_LOG: where to write, a JSON object a line. AWS_STUB_ANSWERS: a JSON file {operation: answer or [answers]}; an answer
{"Error": {…}} is a refusal."""

import json
import os
import re
import sys

ANSWERS = {
    "RegisterCACertificate": {"certificateArn": "arn:aws:iot:eu-central-1:123456789012:cacert/x", "certificateId": "x"},
    "ListTargetsForPolicy": {"targets": ["arn:aws:iot:eu-central-1:123456789012:cert/aa",
                                         "arn:aws:iot:eu-central-1:123456789012:cert/bb"]},
    "RegisterCertificateWithoutCA": {"certificateArn": "arn:aws:iot:eu-central-1:123456789012:cert/cc"},
    "DescribeCertificate": {"certificateDescription": {"certificateArn": "arn:aws:iot:eu-central-1:123456789012:cert/cc"}},
    "StartThingRegistrationTask": {"taskId": "task-1"},
    "GetQueueUrl": {"QueueUrl": "https://sqs.eu-central-1.amazonaws.com/123456789012/certmill-activate-failed"},
    "GetFunctionConfiguration": {"State": "Active"}, "GetFunction": {"Configuration": {"State": "Active"}},
    "DescribeTable": {"Table": {"TableStatus": "ACTIVE"}},
    "GetRole": {"Role": {"RoleName": "x"}},
}


class Http:
    def __init__(self, status):
        self.status_code, self.headers, self.content = status, {}, b""


def faults(shape, value, where=""):
    """What the service would have against a value, by its model."""
    if shape.type_name == "structure":
        return [f for k, v in value.items() for f in faults(shape.members[k], v, f"{where}.{k}")]
    if shape.type_name == "list":
        return [f for i, v in enumerate(value) for f in faults(shape.member, v, f"{where}[{i}]")]
    if shape.type_name != "string":
        return []
    low, high, pattern = (shape.metadata.get(k) for k in ("min", "max", "pattern"))
    found = []
    if (low is not None and len(value) < low) or (high is not None and len(value) > high):
        found.append(f"{where}: {len(value)} characters, not {low} to {high}")
    if pattern is not None and not re.fullmatch(pattern.replace(r"\p{Graph}", r"[\x21-\x7e]"), value):
        found.append(f"{where}: {value[:80]!r} does not match {pattern}")
    return found


def answer_of(operation):
    """The next one; those in a list are for one call each."""
    path = os.environ.get("AWS_STUB_ANSWERS")
    given = {}
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            given = json.load(f)
    mine = given.get(operation, ANSWERS.get(operation, {}))
    if isinstance(mine, list):
        mine = mine.pop(0) if mine else ANSWERS.get(operation, {})
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as f:
            json.dump(given, f)
        os.replace(f"{path}.{os.getpid()}", path)  # other scripts read it meanwhile
    return mine


def main():
    import awscli.clidriver  # pylint: disable=import-outside-toplevel
    driver = awscli.clidriver.create_clidriver(sys.argv[1:])
    taken = {}

    def parameters(params, model, **_):
        taken[model.name] = params

    def call(model, params, **_):
        asked = taken.get(model.name, {})
        answer = answer_of(model.name)
        plain = json.loads(json.dumps(asked, default=lambda v: f"<{type(v).__name__}>"))
        with open(os.environ["AWS_STUB_LOG"], "a", encoding="utf-8") as f:
            f.write(json.dumps({"service": model.service_model.service_name, "operation": model.name, "params": plain,
                                "url": params["url"], "faults": faults(model.input_shape, plain) if model.input_shape else []})
                    + "\n")
        status = 400 if "Error" in answer else 200
        return Http(status), {**answer, "ResponseMetadata": {"HTTPStatusCode": status}}

    driver.session.register("before-parameter-build", parameters)
    driver.session.register("before-call", call)
    return driver.main(sys.argv[1:])
