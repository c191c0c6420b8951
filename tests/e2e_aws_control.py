#!/usr/bin/env python3
"""Goal: AWS's own command line and library take the rehearsal's control plane for AWS IoT: the classic steps work, and
each wrong step is refused by the service's name and status for it; nobody gets in without a signature; nothing leaves
loopback. Method: Debian's awscli for the steps that people type, botocore for the many cases and as the judge of
signatures, in a network namespace that has a loopback only."""

import http.client
import importlib
import json
import os
import socket
import sys
import time
import types
import urllib.error
import urllib.request

import aws_kit
import certmaker as cert
import e2e_kit as kit

ROLE = "arn:aws:iam::123456789012:role/JITPRole"
ARN = "arn:aws:iot:us-east-1:123456789012:"
ALLOW = json.dumps({"Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]})
refused = aws_kit.refused


def check_network(control, alone):
    """What listens, all of it where the network is ours alone, listens on 127.0.0.1 (0100007F)."""
    with open(f"/proc/{control.process.pid}/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and (alone or row[1].endswith(f":{control.port:04X}"))]
    kit.check(f"0100007F:{control.port:04X}" in listening and all(at.startswith("0100007F:") for at in listening),
              "listening on", listening)


# ---- What people type

def classic_steps(control):
    """The registration of a CA, as the old recipes have it."""
    cert.authority("ca", common_name="Classic CA")
    code = control.aws("get-registration-code")["registrationCode"]
    kit.check(len(code) == 64, "registration code", code)
    with open("verification.pem", "w", encoding="ascii") as f:
        f.write(aws_kit.leaf("ca", ("CN", code)))
    made = control.aws("register-ca-certificate", "--ca-certificate", "file://ca/ca.pem", "--verification-cert",
                       "file://verification.pem")
    ca_id = aws_kit.certificate_id(aws_kit.read("ca/ca.pem"))
    kit.check(made == {"certificateArn": f"{ARN}cacert/{ca_id}", "certificateId": ca_id}, made)
    about = control.aws("describe-ca-certificate", "--certificate-id", ca_id)["certificateDescription"]
    kit.check((about["status"], about["autoRegistrationStatus"], about["certificateMode"]) ==
              ("INACTIVE", "DISABLE", "DEFAULT"), about)
    control.aws("update-ca-certificate", "--certificate-id", ca_id, "--new-status", "ACTIVE")
    control.aws("update-ca-certificate", "--certificate-id", ca_id, "--new-auto-registration-status", "ENABLE")
    about = control.aws("describe-ca-certificate", "--certificate-id", ca_id)["certificateDescription"]
    kit.check((about["status"], about["autoRegistrationStatus"]) == ("ACTIVE", "ENABLE"), about)
    error = control.aws("register-ca-certificate", "--ca-certificate", "file://ca/ca.pem", "--verification-cert",
                        "file://verification.pem", fails=True)
    kit.check("(ResourceAlreadyExistsException)" in error, error)
    kit.check("endpointAddress" in control.aws("describe-endpoint", "--endpoint-type", "iot:Data-ATS"))
    with open("policy.json", "w", encoding="ascii") as f:
        f.write(ALLOW)
    with open("device.pem", "w", encoding="ascii") as f:
        f.write(aws_kit.leaf("ca", ("CN", "classic-1")))
    control.aws("create-policy", "--policy-name", "Classic", "--policy-document", "file://policy.json")
    device = control.aws("register-certificate", "--certificate-pem", "file://device.pem", "--ca-certificate-pem",
                         "file://ca/ca.pem", "--set-as-active")
    control.aws("attach-policy", "--policy-name", "Classic", "--target", device["certificateArn"])
    control.aws("update-certificate", "--certificate-id", device["certificateId"], "--new-status", "INACTIVE")
    listed = control.aws("list-certificates-by-ca", "--ca-certificate-id", ca_id)["certificates"]
    kit.check([(c["certificateId"], c["status"]) for c in listed] == [(device["certificateId"], "INACTIVE")], listed)
    return ca_id


# ---- CAs and their refusals

def ca_cases(iot):
    code = iot.get_registration_code()["registrationCode"]
    kit.check(iot.get_registration_code()["registrationCode"] == code, "the code changes by itself")
    for name, how in (("other", {}), ("twin", {}), ("noca", {"constraints": b""}), ("falseca", {
            "constraints": cert.basic(False)}), ("weak", {"kind": "RSA:1024"}), ("ed", {"kind": "Ed25519"}),
                      ("future", {"not_before": "20480101000000Z"}), ("past", {"not_after": "20250101000000Z"}),
                      ("old", {"kind": "RSA:2048", "digest": "sha1"})):
        cert.authority(name, common_name="Twins" if name in ("other", "twin") else name, **how)
    pem = {name: aws_kit.read(f"{name}/ca.pem") for name in os.listdir(".") if os.path.isdir(name) and
           os.path.exists(f"{name}/ca.pem")}

    def attempt(name, verification):
        return {"caCertificate": pem[name], "verificationCertificate": verification}

    good = aws_kit.leaf("other", ("CN", code), ("O", "free"))
    call = iot.register_ca_certificate
    refused(call, "RegistrationCodeValidationException", 400, **attempt("other", aws_kit.leaf("other", ("CN", code[::-1]))))
    refused(call, "RegistrationCodeValidationException", 400, **attempt("other", aws_kit.leaf("other", ("CN", "me"))))
    refused(call, "CertificateValidationException", 400, **attempt("other", aws_kit.leaf("twin", ("CN", code))))
    refused(call, "CertificateValidationException", 400, **attempt("other", aws_kit.leaf(
        "other", ("CN", code), not_after="20250601000000Z")))
    refused(call, "CertificateValidationException", 400, **attempt("other", "no PEM"))
    for name in ("noca", "falseca"):
        refused(call, "CertificateValidationException", 400, "CA certificate is not valid. The CA certificate does not "
                "have the basicConstraints extension as true", **attempt(name, aws_kit.leaf(name, ("CN", code))))
    refused(call, "CertificateValidationException", 400, "The key in the certificate is not valid",
            **attempt("weak", aws_kit.leaf("weak", ("CN", code))))
    refused(call, "CertificateValidationException", 400, **attempt("ed", aws_kit.leaf("other", ("CN", code))))
    for name in ("future", "past"):
        refused(call, "CertificateValidationException", 400, **attempt(name, aws_kit.leaf(name, ("CN", code))))
    refused(call, "CertificateValidationException", 400, **attempt("old", aws_kit.leaf("old", ("CN", code))))
    refused(call, "InvalidRequestException", 400, **attempt("other", good), certificateMode="SNI_ONLY")
    refused(call, "InvalidRequestException", 400, caCertificate=pem["other"])
    made = call(**attempt("other", good), setAsActive=True, allowAutoRegistration=True)
    again = refused(call, "ResourceAlreadyExistsException", 409, **attempt("other", good))
    kit.check(again.get("resourceArn") == made["certificateArn"] and again.get("resourceId") == made["certificateId"],
              "a CA that is there names itself:", again)
    twin = call(caCertificate=pem["twin"], certificateMode="SNI_ONLY")
    about = iot.describe_ca_certificate(certificateId=twin["certificateId"])["certificateDescription"]
    kit.check(about["certificateMode"] == "SNI_ONLY" and about["ownedBy"] == "123456789012" and
              about["validity"]["notAfter"].year == 2049, about)
    for i in range(8):
        cert.authority(f"same{i}", common_name="Twins")
        call(caCertificate=aws_kit.read(f"same{i}/ca.pem"), certificateMode="SNI_ONLY")
    cert.authority("eleventh", common_name="Twins")
    refused(call, "LimitExceededException", 410, caCertificate=aws_kit.read("eleventh/ca.pem"),
            certificateMode="SNI_ONLY")
    ids = [c["certificateId"] for page in iot.get_paginator("list_ca_certificates").paginate(PaginationConfig={
        "PageSize": 3}) for c in page["certificates"]]
    kit.check(len(ids) == len(set(ids)) == 11, "CAs listed in pages:", ids)

    refused(iot.delete_ca_certificate, "CertificateStateException", 406, certificateId=made["certificateId"])
    iot.update_ca_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    iot.delete_ca_certificate(certificateId=made["certificateId"])
    refused(iot.describe_ca_certificate, "ResourceNotFoundException", 404, certificateId=made["certificateId"])
    refused(iot.update_ca_certificate, "ResourceNotFoundException", 404, certificateId="0" * 64, newStatus="ACTIVE")
    refused(iot.update_ca_certificate, "InvalidRequestException", 400, certificateId="0" * 64, newStatus="REVOKED")
    iot.delete_registration_code()
    refused(iot.delete_registration_code, "ResourceNotFoundException", 404)
    kit.check(iot.get_registration_code()["registrationCode"] != code, "a code that was deleted comes back")
    return twin["certificateId"]


def jitp_configuration(iot, ca_id):
    """A template on the CA, checked when it is given."""
    template = {"Parameters": {"AWS::IoT::Certificate::Id": {"Type": "String"}}, "Resources": {
        "c": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}}}}
    config = {"templateBody": json.dumps(template), "roleArn": ROLE}
    iot.update_ca_certificate(certificateId=ca_id, registrationConfig=config)
    kit.check(iot.describe_ca_certificate(certificateId=ca_id)["registrationConfig"] == config, "the template is kept")
    iot.update_ca_certificate(certificateId=ca_id, removeAutoRegistration=True, newAutoRegistrationStatus="DISABLE")
    kit.check(iot.describe_ca_certificate(certificateId=ca_id).get("registrationConfig") == {}, "and taken off")
    refused(iot.update_ca_certificate, "InvalidRequestException", 400, "Invalid template body", certificateId=ca_id,
            registrationConfig={"templateBody": "{}", "roleArn": ROLE})


# ---- Certificates, policies, things

def certificate_cases(iot):
    def device(cn, ca="twin", **change):
        return aws_kit.leaf(ca, ("CN", cn), **change)

    one = device("one")
    refused(iot.register_certificate, "CertificateValidationException", 400, certificatePem=device("x", "eleventh"))
    made = iot.register_certificate(certificatePem=one, status="ACTIVE")
    kit.check(made["certificateId"] == aws_kit.certificate_id(one), made)
    about = iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
    kit.check((about["status"], about["certificateMode"], about["certificatePem"]) == ("ACTIVE", "SNI_ONLY", one), about)
    again = refused(iot.register_certificate, "ResourceAlreadyExistsException", 409, certificatePem=one)
    kit.check(again.get("resourceArn") == made["certificateArn"], "a certificate that is there names itself:", again)
    refused(iot.register_certificate, "CertificateValidationException", 400, certificatePem=device("y"),
            caCertificatePem=aws_kit.read("same0/ca.pem"))
    refused(iot.register_certificate, "CertificateStateException", 406, certificatePem=device("z"),
            status="PENDING_ACTIVATION")
    refused(iot.register_certificate, "CertificateValidationException", 400, certificatePem=device(
        "later", not_before="20470101000000Z"))
    alone = iot.register_certificate_without_ca(certificatePem=device("x", "eleventh"), status="ACTIVE")
    kit.check("caCertificateId" not in iot.describe_certificate(certificateId=alone["certificateId"])[
        "certificateDescription"], "registered without a CA")

    refused(iot.update_certificate, "InvalidRequestException", 400, certificateId=made["certificateId"],
            newStatus="PENDING_ACTIVATION")
    refused(iot.update_certificate, "ResourceNotFoundException", 404, certificateId="1" * 64, newStatus="ACTIVE")
    refused(iot.delete_certificate, "CertificateStateException", 406, certificateId=made["certificateId"])
    iot.update_certificate(certificateId=alone["certificateId"], newStatus="REVOKED")
    iot.delete_certificate(certificateId=alone["certificateId"])
    twin = aws_kit.certificate_id(aws_kit.read("twin/ca.pem"))
    for i in range(7):
        iot.register_certificate(certificatePem=device(f"page-{i}"))
    pages = list(iot.get_paginator("list_certificates_by_ca").paginate(caCertificateId=twin, PaginationConfig={
        "PageSize": 3}))
    ids = [c["certificateId"] for page in pages for c in page["certificates"]]
    kit.check(len(pages) == 3 and len(ids) == len(set(ids)) == 8, "certificates by CA in pages:", len(pages), ids)
    backwards = [c["certificateId"] for c in iot.list_certificates_by_ca(
        caCertificateId=twin, ascendingOrder=False, pageSize=250)["certificates"]]
    kit.check(backwards == ids[::-1], "and backwards")
    return made


def policy_cases(iot, device):
    target = device["certificateArn"]
    refused(iot.create_policy, "MalformedPolicyException", 400, policyName="P", policyDocument="{")
    refused(iot.create_policy, "MalformedPolicyException", 400, "NotResource", policyName="P", policyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "NotResource": "*"}]}))
    made = iot.create_policy(policyName="P+=,.@-_1", policyDocument=ALLOW)
    kit.check(made["policyArn"] == f"{ARN}policy/P+=,.@-_1", made)
    refused(iot.create_policy, "ResourceAlreadyExistsException", 409, policyName="P+=,.@-_1", policyDocument=ALLOW)
    kit.check(iot.get_policy(policyName="P+=,.@-_1")["policyDocument"] == ALLOW, "the document is kept")
    refused(iot.attach_policy, "ResourceNotFoundException", 404, policyName="Q", target=target)
    refused(iot.attach_policy, "ResourceNotFoundException", 404, policyName="P+=,.@-_1", target=f"{ARN}cert/{'2' * 64}")
    iot.attach_policy(policyName="P+=,.@-_1", target=target)
    iot.attach_principal_policy(policyName="P+=,.@-_1", principal=target)
    kit.check([p["policyName"] for p in iot.list_attached_policies(target=target)["policies"]] == ["P+=,.@-_1"],
              "attached twice, there once")
    kit.check(iot.list_targets_for_policy(policyName="P+=,.@-_1")["targets"] == [target], "targets")
    refused(iot.delete_policy, "DeleteConflictException", 409, policyName="P+=,.@-_1")
    iot.detach_policy(policyName="P+=,.@-_1", target=target)
    iot.delete_policy(policyName="P+=,.@-_1")
    refused(iot.get_policy, "ResourceNotFoundException", 404, policyName="P+=,.@-_1")


def thing_cases(iot, device):
    arn = device["certificateArn"]
    made = iot.create_thing(thingName="t:_-1", attributePayload={"attributes": {"serial": "17"}})
    kit.check(made["thingArn"] == f"{ARN}thing/t:_-1", made)
    kit.check(iot.create_thing(thingName="t:_-1", attributePayload={"attributes": {"serial": "17"}})["thingId"] ==
              made["thingId"], "created twice, there once")
    refused(iot.create_thing, "ResourceAlreadyExistsException", 409, thingName="t:_-1")
    refused(iot.create_thing, "InvalidRequestException", 400, thingName="a.b")
    refused(iot.create_thing, "InvalidRequestException", 400, thingName="four", attributePayload={"attributes": {
        str(i): "x" for i in range(4)}})
    refused(iot.create_thing, "ResourceNotFoundException", 404, thingName="u", thingTypeName="T")
    iot.create_thing_type(thingTypeName="T", thingTypeProperties={"searchableAttributes": ["serial"]})
    iot.create_thing_group(thingGroupName="G")
    iot.create_billing_group(billingGroupName="B")
    iot.create_thing(thingName="u", thingTypeName="T", billingGroupName="B")
    iot.add_thing_to_thing_group(thingGroupName="G", thingName="u")
    kit.check(iot.list_things_in_thing_group(thingGroupName="G")["things"] == ["u"] and
              iot.list_things_in_billing_group(billingGroupName="B")["things"] == ["u"] and
              iot.list_thing_groups_for_thing(thingName="u")["thingGroups"][0]["groupName"] == "G", "groups")
    about = iot.describe_thing(thingName="u")
    kit.check((about["thingTypeName"], about["billingGroupName"], about["version"]) == ("T", "B", 1), about)
    iot.update_thing(thingName="u", attributePayload={"attributes": {"a": "1", "b": "2"}})
    iot.update_thing(thingName="u", attributePayload={"attributes": {"a": "", "c": "3"}, "merge": True})
    kit.check(iot.describe_thing(thingName="u")["attributes"] == {"b": "2", "c": "3"}, "attributes merged")
    refused(iot.update_thing, "VersionConflictException", 409, thingName="u", expectedVersion=1)
    iot.attach_thing_principal(thingName="u", principal=arn)
    kit.check(iot.list_thing_principals(thingName="u")["principals"] == [arn] and
              iot.list_principal_things(principal=arn)["things"] == ["u"], "principals")
    refused(iot.delete_thing, "InvalidRequestException", 400, thingName="u")
    refused(iot.attach_thing_principal, "ResourceNotFoundException", 404, thingName="v", principal=arn)
    iot.detach_thing_principal(thingName="u", principal=arn)
    iot.delete_thing(thingName="u")
    iot.deprecate_thing_type(thingTypeName="T")
    kit.check(iot.describe_thing_type(thingTypeName="T")["thingTypeMetadata"]["deprecated"] is True, "deprecated")
    iot.delete_thing_type(thingTypeName="T")
    iot.delete_thing_group(thingGroupName="G")
    iot.delete_billing_group(billingGroupName="B")
    kit.check([t["thingName"] for t in iot.list_things()["things"]] == ["t:_-1"], "things that are left")


# ---- Bulk registration

TEMPLATE = json.dumps({
    "Parameters": {"ThingName": {"Type": "String"}, "CertificatePem": {"Type": "String"},
                   "CACertificatePem": {"Type": "String"}},
    "Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "ThingName"}}},
                  "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
                      "CertificatePem": {"Ref": "CertificatePem"}, "CACertificatePem": {"Ref": "CACertificatePem"}}},
                  "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "Classic"}}}})


def wait_for(iot, task):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        about = iot.describe_thing_registration_task(taskId=task)
        if about["status"] not in ("InProgress", "Cancelling"):
            return about
        time.sleep(0.05)
    kit.check(False, "the task goes on for ever")
    return about


def report(iot, task, kind):
    links = iot.list_thing_registration_task_reports(taskId=task, reportType=kind)["resourceLinks"]
    lines = []
    for link in links:
        with urllib.request.urlopen(link, timeout=30) as f:
            lines += [json.loads(line) for line in f.read().decode().splitlines()]
    return lines


def bulk_cases(iot, buckets):
    os.mkdir(f"{buckets}/fleet-bucket")
    ca = aws_kit.read("twin/ca.pem")
    devices = [aws_kit.leaf("twin", ("CN", f"bulk-{i}")) for i in range(5)]
    rows = [{"ThingName": f"bulk-{i}", "CertificatePem": pem, "CACertificatePem": ca} for i, pem in enumerate(devices)]
    rows += [{"ThingName": "bad name!", "CertificatePem": aws_kit.leaf("twin", ("CN", "bad")), "CACertificatePem": ca},
             {"ThingName": "none"},
             {"ThingName": "foreign", "CertificatePem": aws_kit.leaf("eleventh", ("CN", "foreign")), "CACertificatePem": ca}]
    with open(f"{buckets}/fleet-bucket/in.json", "w", encoding="ascii") as f:
        f.write("\n".join([json.dumps(row) for row in rows] + ["no JSON"]))
    start = {"templateBody": TEMPLATE, "inputFileBucket": "fleet-bucket", "inputFileKey": "in.json", "roleArn": ROLE}
    for change in ({"inputFileKey": "none.json"}, {"inputFileKey": "../../registry"}, {"templateBody": "{}"},
                   {"inputFileBucket": "no-bucket"}):
        refused(iot.start_thing_registration_task, "InvalidRequestException", 400, **{**start, **change})
    os.symlink("/etc/passwd", f"{buckets}/fleet-bucket/link")
    refused(iot.start_thing_registration_task, "InvalidRequestException", 400, **{**start, "inputFileKey": "link"})
    task = iot.start_thing_registration_task(**start)["taskId"]
    about = wait_for(iot, task)
    kit.check((about["status"], about["successCount"], about["failureCount"], about["percentageProgress"]) ==
              ("Completed", 5, 4, 100), about)
    results, errors = report(iot, task, "RESULTS"), report(iot, task, "ERRORS")
    kit.check([r["response"]["ResourceArns"]["thing"] for r in results] == [f"{ARN}thing/bulk-{i}" for i in range(5)],
              "results", results)
    kit.check([e["lineNumber"] for e in errors] == [6, 7, 8, 9] and
              "{Ref=CertificatePem}" in errors[1]["errorMessage"] and
              errors[2]["errorCode"] == "CertificateValidationException", "errors", errors)
    bad = aws_kit.certificate_id(rows[5]["CertificatePem"])
    refused(iot.describe_certificate, "ResourceNotFoundException", 404, certificateId=bad)
    kit.check(iot.list_thing_principals(thingName="bulk-3")["principals"] ==
              [f"{ARN}cert/{aws_kit.certificate_id(devices[3])}"], "a thing of the bulk has its certificate")
    kit.check(task in iot.list_thing_registration_tasks()["taskIds"], "listed")
    refused(iot.stop_thing_registration_task, "InvalidRequestException", 400, taskId=task)
    refused(iot.describe_thing_registration_task, "ResourceNotFoundException", 404, taskId="nothing")
    link = iot.list_thing_registration_task_reports(taskId=task, reportType="ERRORS")["resourceLinks"][0]
    try:
        urllib.request.urlopen(link[:-1] + "x", timeout=30)
        kit.check(False, "a link that was not given out works")
    except urllib.error.HTTPError as e:
        kit.check(e.code == 403, "a wrong link:", e.code)
    # Registered already: what is there is taken, and nothing doubled.
    again = wait_for(iot, iot.start_thing_registration_task(**start)["taskId"])
    kit.check((again["status"], again["successCount"]) == ("Completed", 5), again)


# ---- Signatures and HTTP

def raw(control, method, path, headers=(), body=None):
    connection = http.client.HTTPConnection("127.0.0.1", control.port, timeout=30)
    connection.request(method, path, body=body, headers=dict(headers))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers.get("x-amzn-ErrorType"), text


def signed(control, method, path, body=b"", headers=None, when=0, **change):
    """The headers that botocore's signer makes for this request."""
    aws_kit.botocore()
    auth = importlib.import_module("botocore.auth")
    credentials = importlib.import_module("botocore.credentials")
    requests = importlib.import_module("botocore.awsrequest")
    how = {"key": control.says["access_key_id"], "secret": control.says["secret_access_key"], "service": "iot",
           "region": "us-east-1", **change}
    request = requests.AWSRequest(method=method, url=f"{control.url}{path}", data=body, headers=dict(headers or {}))
    signer = auth.SigV4Auth(credentials.Credentials(how["key"], how["secret"]), how["service"], how["region"])
    real = auth.datetime

    class Then(real.datetime):
        @classmethod
        def utcnow(cls):
            return super().utcnow() + real.timedelta(seconds=when)
    auth.datetime = types.SimpleNamespace(datetime=Then)
    try:
        signer.add_auth(request)
    finally:
        auth.datetime = real
    return dict(request.headers.items())


def signature_cases(control):
    for path in ("/things?maxResults=5&nextToken=1", "/things?nextToken=2&maxResults=5", "/policies/a%20b%2Fc",
                 "/policies/%C3%A4", "/things/x//principals", "/things/./x", "/attached-policies/arn%3Aaws%3Aiot%3Ax",
                 "/certificates?isAscendingOrder=", "/things?maxResults=5&maxResults=4", "/a~b-c_d.e"):
        got = raw(control, "GET", path, signed(control, "GET", path))
        kit.check(got[0] != 403, "a good signature is refused:", path, got)
    spaces = {"x-amz-spaces": "a   b  c", "X-Amz-Upper": "Yes"}
    got = raw(control, "GET", "/things", signed(control, "GET", "/things", headers=spaces))
    kit.check(got[0] == 200, "headers with spaces:", got)
    good = signed(control, "GET", "/things")
    for what, headers, name in (
            ("nothing", {}, "MissingAuthenticationTokenException"),
            ("no date", {k: v for k, v in good.items() if k != "X-Amz-Date"}, "IncompleteSignatureException"),
            ("basic", {"Authorization": "Basic eDp5"}, "IncompleteSignatureException"),
            ("empty", {"Authorization": "AWS4-HMAC-SHA256 "}, "IncompleteSignatureException"),
            ("another path", signed(control, "GET", "/policies"), "InvalidSignatureException"),
            ("another method", signed(control, "POST", "/things"), "InvalidSignatureException"),
            ("another body", signed(control, "GET", "/things", body=b"{}"), "InvalidSignatureException"),
            ("a header more", {**good, "x-amz-principal": "x"}, "InvalidSignatureException"),
            ("another key", signed(control, "GET", "/things", key="AKIAXXXXXXXXXXXXXXXX"),
             "UnrecognizedClientException"),
            ("another secret", signed(control, "GET", "/things", secret="x"), "InvalidSignatureException"),
            ("another region", signed(control, "GET", "/things", region="eu-west-1"), "InvalidSignatureException"),
            ("another service", signed(control, "GET", "/things", service="s3"), "InvalidSignatureException"),
            ("too late", signed(control, "GET", "/things", when=-310), "InvalidSignatureException"),
            ("too early", signed(control, "GET", "/things", when=310), "InvalidSignatureException"),
            ("one digit", {**good, "Authorization": good["Authorization"][:-1] + (
                "0" if good["Authorization"][-1] != "0" else "1")}, "InvalidSignatureException")):
        status, error, text = raw(control, "GET", "/things", headers)
        kit.check((status, error) == (403, name) and json.loads(text)["message"], what, status, error, text)
    kit.check(raw(control, "GET", "/things", signed(control, "GET", "/things", when=-280))[0] == 200, "five minutes")
    for method, path in (("GET", "/nothing"), ("PATCH", "/policies/x"), ("GET", "/")):
        got = raw(control, method, path, signed(control, method, path))
        kit.check(got[:2] == (404, "UnknownOperationException"), method, path, got)
    for path in ("/policies/%00", "/policies/%zz", "/policies/%"):
        got = raw(control, "GET", path, signed(control, "GET", path))
        kit.check(got[:2] == (400, "InvalidRequestException"), path, got)
    for body in (b"[", b"[]", b'{"a":1,"a":2}', b"\xff"):
        got = raw(control, "POST", "/policies/x", signed(control, "POST", "/policies/x", body=body), body=body)
        kit.check(got[:2] == (400, "InvalidRequestException"), body, got)


def limit_cases(control):
    big = b"x" * 300000
    got = raw(control, "POST", "/policies/x", signed(control, "POST", "/policies/x", body=big), body=big)
    kit.check(got[0] == 413, "a large body:", got[:2])
    for headers in ({f"x-{i}": "y" for i in range(80)}, {"x-large": "y" * 60000}):
        try:
            got = raw(control, "GET", "/things", headers)
            kit.check(400 <= got[0] < 500, "many or large headers:", got[:2])
        except (http.client.HTTPException, OSError):
            pass  # closed: as good
    with socket.create_connection(("127.0.0.1", control.port), timeout=30) as slow:
        slow.sendall(b"GET /things HTTP/1.1\r\nHost: x\r\n")
        begun = time.monotonic()
        slow.recv(1000)
        kit.check(time.monotonic() - begun < 20, "a slow client is let go")
    kit.check(raw(control, "GET", "/things", signed(control, "GET", "/things"))[0] == 200, "still there")


def rate_cases():
    control = aws_kit.Control("limited", "--limits", "aws")
    iot = control.client()
    refusals, begun = 0, time.monotonic()
    for _ in range(40):
        try:
            iot.list_ca_certificates()
        except importlib.import_module("botocore.exceptions").ClientError as e:
            kit.check(e.response["Error"]["Code"] == "ThrottlingException" and
                      e.response["ResponseMetadata"]["HTTPStatusCode"] == 400, e)
            refusals += 1
    taken = time.monotonic() - begun
    kit.check(40 - refusals <= 10 + 10 * taken + 1 and refusals > 0, "ten a second:", refusals, "refused in", taken, "s")
    iot.list_things()
    control.close()


def main():
    kit.enter_place("aws-control")
    if kit.tool("aws", "awscli") is None:
        return kit.finish()
    alone = aws_kit.leave_the_network()
    control = aws_kit.Control("served")
    check_network(control, alone)
    iot = control.client()
    kit.say("the classic steps")
    classic_steps(control)
    kit.say("CAs")
    twin = ca_cases(iot)
    jitp_configuration(iot, twin)
    kit.say("certificates, policies, things")
    device = certificate_cases(iot)
    policy_cases(iot, device)
    thing_cases(iot, device)
    kit.say("bulk registration")
    bulk_cases(iot, control.says["buckets"])
    kit.say("signatures and HTTP")
    signature_cases(control)
    limit_cases(control)
    control.close()
    kit.say("what was registered is still there")
    control = aws_kit.Control("served")
    kit.check(len(control.client().list_ca_certificates(pageSize=250)["certificates"]) == 10, "CAs after a restart")
    control.close()
    rate_cases()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
