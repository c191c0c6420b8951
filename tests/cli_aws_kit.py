"""Goal: what `certmill aws kit` writes is what AWS IoT and the aws command take. Method: the verification certificate goes to
openssl and GnuTLS; every script goes through sh -n and shellcheck, and runs as it stands with Debian's awscli up to the request,
which the service's model judges (aws_stub.py); every document is held against what reads it; the activation function runs against
a registry and a table of a few lines, with repeated, late and throttled calls; a kit that can't be written leaves nothing."""

import collections
import concurrent.futures
import glob
import hashlib
import json
import logging
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import time
import types

import aws_server
import certmaker
import e2e_kit as kit

CODE = "15c51ae5e36ba59ba77042df1115862076bea4bd15841c838fcb68d5010a614c"
ACCOUNT, REGION = "123456789012", "eu-central-1"


def make(out, *args, ca="ca", code=CODE, **how):
    return kit.mill("aws", "kit", "--ca", f"{ca}/ca.pem", "--ca-key", f"{ca}/ca.key",
                    *(["--registration-code", code] if code else []), "--out", out, *args, **how)


def refused(what, r, code, *words, out="never"):
    kit.check(r.code == code and all(w.encode() in r.err for w in words), what, r)
    kit.check(not os.path.lexists(out) and not os.path.lexists(f"{out}.part"), what, "left something")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


# ---- the verification certificate ----

CAS = {"ca": (), "p384": ("--key", "P-384"), "p521": ("--key", "P-521"), "rsa": ("--key", "RSA-2048"),
       "pss": ("--key", "RSA-2048", "--signature", "RSASSA-PSS-SHA256"),
       "below": ("--pathlen", "0", "--issuer-cert", "ca/ca.pem", "--issuer-key", "ca/ca.key")}


def facts(path):
    text = kit.must(["openssl", "x509", "-in", path, "-noout", "-subject", "-issuer", "-nameopt", "RFC2253", "-dates",
                     "-dateopt", "iso_8601", "-ext", "basicConstraints,keyUsage"]).out.decode()
    return dict(re.findall(r"^(subject|issuer|notBefore|notAfter)=(.*)$", text, re.M)), text


def judged(out, ca):
    """openssl and GnuTLS on a kit's certificate; its facts."""
    path, root = f"{out}/verification.pem", "ca/ca.pem" if ca == "below" else f"{ca}/ca.pem"
    kit.ok(["openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", f"{ca}/ca.pem", path])
    if certtool := kit.tool("certtool", "gnutls-bin"):
        with open(f"{out}.chain", "w", encoding="ascii") as f:
            f.write(read(path) + read(f"{ca}/ca.pem"))
        kit.ok([certtool, "--verify", "--verify-profile", "low", "--load-ca-certificate", root, "--infile", f"{out}.chain"])
    found, text = facts(path)
    kit.check("CA:FALSE" in text and "Digital Signature" in text, path, text)
    kit.check(found["issuer"] == facts(f"{ca}/ca.pem")[0]["subject"], path, found)
    days = subprocess.run(["date", "-u", "+%s", "-d", found["notAfter"]], capture_output=True, check=True, text=True)
    begin = subprocess.run(["date", "-u", "+%s", "-d", found["notBefore"]], capture_output=True, check=True, text=True)
    kit.check(0 < int(days.stdout) - int(begin.stdout) <= 90000, path, "lives too long:", found)
    return found


def verification():
    for ca in CAS:
        r = make(f"k-{ca}", "--json", ca=ca)
        if not kit.check(r.code == 0, r):
            continue
        told = json.loads(r.out)
        found = judged(f"k-{ca}", ca)
        kit.check(found["subject"] == f"CN={CODE}" and told["verification"] == "verification.pem", ca, found)
        ours, theirs = certmaker.unpem(read(f"k-{ca}/ca.pem")), certmaker.unpem(read(f"{ca}/ca.pem"))
        kit.check(ours == theirs[:1], ca, "ca.pem is not the CA's certificate alone")
        kit.check(told["ca_certificate_id"] == hashlib.sha256(theirs[0]).hexdigest(), ca, told)
        kit.check(kit.mill("aws", "check", f"k-{ca}").code == 0, ca, "aws check has something against it")
    upper = make("k-upper", code=CODE.upper())
    kit.check(upper.code == 0 and facts("k-upper/verification.pem")[0]["subject"] == f"CN={CODE.upper()}", upper)


def request(name, subject, key="v.key"):
    if not os.path.exists(key):
        certmaker.new_key(key, "RSA:2048")
    certmaker.openssl("req", "-new", "-key", key, "-subj", subject, "-out", name)
    return name


def from_requests():
    good = request("v.csr", f"/C=DE/O=Acme/CN={CODE}")
    for name, args, code in (("k-csr", (), None), ("k-csr-code", (), CODE)):
        r = make(name, "--verification-csr", good, *args, code=code)
        if kit.check(r.code == 0, r):
            kit.check(judged(name, "ca")["subject"] == f"CN={CODE},O=Acme,C=DE", name, "subject")
            own = kit.must(["openssl", "x509", "-in", f"{name}/verification.pem", "-noout", "-pubkey"]).out
            kit.check(own == kit.must(["openssl", "req", "-in", good, "-noout", "-pubkey"]).out, name, "public key")
    refused("other code", make("never", "--verification-csr", good, code="f" * 64), 2, "v.csr", CODE, "registration code")
    refused("short CN", make("never", "--verification-csr", request("s.csr", f"/CN={CODE[:63]}"), code=None), 2, "s.csr", "64")
    refused("no CN", make("never", "--verification-csr", request("n.csr", "/O=Acme"), code=None), 2, "n.csr", "64")
    der = bytearray(certmaker.openssl("req", "-in", good, "-outform", "DER"))
    der[-1] ^= 1
    with open("b.csr", "w", encoding="ascii") as f:
        f.write(certmaker.pem("CERTIFICATE REQUEST", bytes(der)))
    refused("broken signature", make("never", "--verification-csr", "b.csr", code=None), 2, "b.csr", "signature")
    refused("no request", make("never", "--verification-csr", "ca/ca.pem", code=None), 2, "ca/ca.pem", "certificate request")
    refused("no file", make("never", "--verification-csr", "nothing", code=None), 2, "nothing")


def elsewhere():
    """A CA without its key: a request, which anybody's openssl signs."""
    own = request("v.csr", f"/C=DE/O=Acme/CN={CODE}")
    for name, args, code in (("e-new", (), CODE), ("e-own", ("--verification-csr", own), None),
                             ("e-both", ("--verification-csr", own), CODE)):
        r = kit.mill("aws", "kit", "--ca", "below/ca.pem", "--out", name, *args, *(["--registration-code", code] if code else []))
        if not kit.check(r.code == 0 and b"verification.csr" in r.out, r):
            continue
        kit.check(not os.path.exists(f"{name}/verification.pem") and "verification.csr" in read(f"{name}/README.md"), name)
        kit.check(certmaker.unpem(read(f"{name}/ca.pem")) == certmaker.unpem(read("below/ca.pem"))[:1], name, "ca.pem")
        kit.ok(["openssl", "req", "-in", f"{name}/verification.csr", "-noout", "-verify"])
        kit.check(name == "e-new" or read(f"{name}/verification.csr") == read(own), name, "is another request")
        early = kit.run(["sh", f"{name}/register-ca-default.sh"])
        kit.check(early.code != 0 and b"verification.csr" in early.err, early)
        kit.must(["openssl", "x509", "-req", "-in", f"{name}/verification.csr", "-CA", "below/ca.pem", "-CAkey", "below/ca.key",
                  "-set_serial", "7", "-days", "1", "-out", f"{name}/verification.pem"])
        kit.check(CODE in facts(f"{name}/verification.pem")[0]["subject"], name)
        kit.check(kit.mill("aws", "check", name).code == 0, name, "aws check has something against it")
    whole = sorted(os.listdir("k-csr"))
    kit.check(sorted(os.listdir("e-new")) == sorted([*whole, "verification.csr"]), "other files")
    for what, args, words in (
            ("code and request", ("--ca", "ca/ca.pem", "--verification-csr", own, "--registration-code", "f" * 64), (CODE,)),
            ("a short CN", ("--ca", "ca/ca.pem", "--verification-csr", "s.csr"), ("s.csr", "64")),
            ("Ed25519", ("--ca", "ed/ca.pem", "--registration-code", CODE), ("ed/ca.pem", "Ed25519")),
            ("a key for a CA", ("--ca", "ca/ca.key", "--registration-code", CODE), ("ca/ca.key", "no certificate"))):
        refused(f"elsewhere: {what}", kit.mill("aws", "kit", *args, "--out", "never"), 2, *words)


def bad_requests():
    for what, code in (("63", CODE[1:]), ("65", CODE + "0"), ("no hex", "g" + CODE[1:]), ("a space", CODE[1:] + " "),
                       ("empty", " ")):
        refused(what, make("never", code=code), 2, "registration code", "get-registration-code")
    refused("no code", make("never", code=None), 2, "--registration-code")
    refused("account", make("never", "--aws-account", "12", "--aws-region", REGION), 2, "12 digits")
    refused("region alone", make("never", "--aws-region", REGION), 2, "--aws-account")
    refused("parent", make("none/never"), 2, "none", out="none")
    refused("Ed25519", make("never", ca="ed"), 2, "ed/ca.pem", "Ed25519", "AWS IoT")
    refused("other key", kit.mill("aws", "kit", "--ca", "ca/ca.pem", "--ca-key", "p384/ca.key", "--registration-code", CODE,
                                  "--out", "never"), 2, "don't belong together")
    os.mkdir("there")
    refused("there", make("there"), 2, "there already", out="there.part")
    kit.check(os.listdir("there") == [], "an existing directory was touched")
    os.mkdir("never.part")
    r = make("never")
    kit.check(r.code == 2 and b"never.part" in r.err and not os.path.exists("never"), r)
    os.rmdir("never.part")


# ---- the files ----

DOCUMENTS = {  # policy documents: their principals or actions, in order
    "device-policy.json": ["iot:Connect", "iot:Publish", "iot:Receive", "iot:Subscribe"],
    "jitr-rule-permissions.json": ["sqs:SendMessage"],
}


def actions(document):
    return [a for s in document["Statement"] for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])]


def documents():
    given, asking = "k-given", "k-ca"
    kit.check(make(given, "--aws-account", ACCOUNT, "--aws-region", REGION).code == 0, given)
    china = make("k-china", "--aws-account", ACCOUNT, "--aws-region", "cn-north-1", "--aws-partition", "aws-cn")
    kit.check(china.code == 0 and "arn:aws-cn:" in read("k-china/device-policy.json") and
              "arn:aws:" not in "".join(read(p) for p in glob.glob("k-china/*")) and
              "amazonaws.com.cn/" in read("k-china/jitr-rule.json"), "k-china")
    kit.check(sorted(os.listdir(given)) == sorted(os.listdir(asking)), "the kits have different files")
    for path in sorted(glob.glob(f"{given}/*.json")):
        name = os.path.basename(path)
        document = json.loads(read(path))
        kit.check(not re.search(r"@[A-Z_]+@|ACCOUNT_ID|AWS_REGION", read(path)), name, "a place is left")
        filled = kit.must(["sh", "-c", f'kit={asking}; . {asking}/settings.sh; document "$1"', "-", name],
                          env={**os.environ, "ACCOUNT_ID": ACCOUNT, "AWS_REGION": REGION})
        kit.check(filled.out.decode() == read(path), name, "settings.sh fills it in another way")
        if "Statement" in document:
            kit.check(document["Version"] == "2012-10-17" and all(s["Effect"] == "Allow" for s in document["Statement"]), name)
            kit.check(not any("*" in a for a in actions(document)), name, "more actions than are named")
            kit.check(len(re.sub(r"\s", "", read(path))) <= 2048, name, "too long for a policy")
        if name in DOCUMENTS:
            kit.check(actions(document) == DOCUMENTS[name], name, actions(document))
        if name.endswith("-trust.json") and "lambda" not in read(path):
            kit.check(ACCOUNT in json.dumps(document["Statement"][0]["Condition"]), name, "anybody's rule may take the role")
    config = json.loads(read(f"{given}/jitp-registration.json"))
    kit.check(config["templateBody"] == read(f"{given}/jitp-template.json") and len(config["templateBody"]) <= 10240, config)
    rule = json.loads(read(f"{given}/jitr-rule.json"))
    ca_id = json.loads(make("k-id", "--json").out)["ca_certificate_id"]
    kit.check(f"'$aws/events/certificates/registered/{ca_id}'" in rule["sql"] and "sqs" in rule["errorAction"], rule)
    kit.check("-----BEGIN" not in "".join(read(p) for p in glob.glob(f"{given}/*")
                                          if not p.endswith(".pem") and not p.endswith(".sh")), "a PEM in a document")
    kit.check("PRIVATE KEY" not in "".join(read(p) for p in glob.glob(f"{given}/*")), "a private key")


def shells():
    scripts = sorted(glob.glob("k-given/*.sh"))
    for path in scripts:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        kit.check(mode == (0o644 if path.endswith("settings.sh") else 0o755), path, oct(mode))
        for shell in ("sh", "busybox sh"):
            kit.ok([*shell.split(), "-n", path])
    if shellcheck := kit.tool("shellcheck", "shellcheck"):
        kit.ok([shellcheck, "-x", "-P", "k-given", "-s", "sh", *scripts])
    names = {os.path.basename(p) for p in scripts}
    alone = {"settings.sh", "bulk-status.sh", "bulk-export.sh", "register-ca-sni-only.sh", "register-ca-default.sh"}
    for name in names - alone:
        kit.check(name.startswith("undo-") or f"undo-{name}" in names, name, "nothing takes it back")
    kit.check(names - {"settings.sh"} == set(CALLS), "scripts that no case runs:", names ^ set(CALLS))
    readme = read("k-given/README.md")
    kit.check([n for n in names if n not in readme] == [], "not in the README:", [n for n in names if n not in readme])


IAM = ["iam CreateRole", "iam PutRolePolicy", "iam GetRole"]
UNDO_IAM = ["iam DeleteRolePolicy", "iam DeleteRole"]
CALLS = {  # what each script asks for; arguments
    "register-ca-default.sh": ["iot RegisterCACertificate"], "register-ca-sni-only.sh": ["iot RegisterCACertificate"],
    "undo-register-ca.sh": ["iot UpdateCACertificate", "iot DeleteCACertificate"],
    "activate-ca.sh": ["iot UpdateCACertificate"], "undo-activate-ca.sh": ["iot UpdateCACertificate"],
    "enable-auto-registration.sh": ["iot UpdateCACertificate"],
    "undo-enable-auto-registration.sh": ["iot UpdateCACertificate"],
    "create-policy.sh": ["iot CreatePolicy"],
    "undo-create-policy.sh": ["iot ListTargetsForPolicy", "iot DetachPolicy", "iot DetachPolicy", "iot DeletePolicy"],
    "jitr-queue.sh": ["sqs CreateQueue"], "undo-jitr-queue.sh": ["sqs GetQueueUrl", "sqs DeleteQueue"],
    "jitr-allow-list.sh": ["s3 PutObject", "dynamodb ImportTable", "dynamodb DescribeTable"],
    "undo-jitr-allow-list.sh": ["dynamodb DeleteTable", "s3 DeleteObject"],
    "jitr-function.sh": [*IAM, "lambda CreateFunction", "lambda CreateFunction", "lambda GetFunctionConfiguration"],
    "undo-jitr-function.sh": ["lambda DeleteFunction", *UNDO_IAM],
    "jitr-rule.sh": [*IAM, "lambda AddPermission", "iot CreateTopicRule"],
    "undo-jitr-rule.sh": ["iot DeleteTopicRule", "lambda RemovePermission", *UNDO_IAM],
    "provision-role.sh": IAM, "undo-provision-role.sh": UNDO_IAM,
    "enable-jitp.sh": ["iot UpdateCACertificate"], "undo-enable-jitp.sh": ["iot UpdateCACertificate"],
    "bulk-export.sh": [], "bulk-upload.sh": ["s3 PutObject"], "undo-bulk-upload.sh": ["s3 DeleteObject"],
    "bulk-start.sh": ["iot StartThingRegistrationTask"], "undo-bulk-start.sh": ["iot StopThingRegistrationTask"],
    "bulk-status.sh": ["iot DescribeThingRegistrationTask", *["iot ListThingRegistrationTaskReports"] * 2],
    "register-without-ca.sh": ["iot RegisterCertificateWithoutCA", "iot AttachPolicy"] * 2,
    "undo-register-without-ca.sh": ["iot DescribeCertificate", "iot UpdateCertificate", "iot DetachPolicy",
                                    "iot DeleteCertificate"] * 2,
}
ARGUMENTS = {"jitr-allow-list.sh": ["fleet"], "bulk-export.sh": ["fleet", "--quiet"], "bulk-status.sh": ["task-1"],
             "undo-bulk-start.sh": ["task-1"], "register-without-ca.sh": ["SN00000001.crt", "SN00000002.crt"],
             "undo-register-without-ca.sh": ["SN00000001.crt", "SN00000002.crt"]}


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return {**kept, "PATH": f"{os.path.abspath('bin')}:{os.environ['PATH']}", "HOME": os.getcwd(),
            "AWS_STUB_ANSWERS": os.path.abspath("answers"),
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
            "ACCOUNT_ID": ACCOUNT, "AWS_REGION": REGION, "BUCKET": "acme-devices", **more}


def calls_of(name, where="k-run", **more):
    log = os.path.abspath(f"{name}.calls")
    if os.path.exists(log):
        os.unlink(log)
    r = kit.run(["sh", f"{where}/{name}", *ARGUMENTS.get(name, [])], env=environment(**{"AWS_STUB_LOG": log, **more}))
    lines = read(log).splitlines() if os.path.exists(log) else []
    return r, [json.loads(line) for line in lines]


def only(made, operation):
    return next(c["params"] for c in made if c["operation"] == operation)


def run_scripts():
    """Every script as it stands; {script: [call]}"""
    aws_server.start("bin", stub=True)
    os.symlink(kit.CERTMILL, "bin/certmill")
    with open("bin/sleep", "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n")
    os.chmod("bin/sleep", 0o755)
    with open("answers", "w", encoding="ascii") as f:
        json.dump({"CreateFunction": [{"Error": {"Code": "InvalidParameterValueException", "Message": "role"}}]}, f)
    kit.check(make("k-run").code == 0, "k-run")
    made = {}
    first = {"bulk-export.sh": calls_of("bulk-export.sh")}  # others read what it writes
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = dict(zip(CALLS, pool.map(lambda n: first.get(n) or calls_of(n), CALLS)))
    for name, wanted in CALLS.items():
        r, made[name] = results[name]
        kit.check(r.code == 0, name, r)
        kit.check([f"{c['service']} {c['operation']}" for c in made[name]] == wanted, name, made[name])
        for c in made[name]:
            kit.check(c["faults"] == [], name, c["operation"], *c["faults"])
            kit.check("127.0.0.1" not in c["url"] and ".amazonaws.com" in c["url"], name, c["url"])
    r, calls = calls_of("activate-ca.sh", ENDPOINT_URL="http://127.0.0.1:9")
    kit.check(r.code == 0 and calls[0]["url"].startswith("http://127.0.0.1:9/cacertificate/"), r, calls)
    for name in ("create-policy.sh", "bulk-start.sh"):
        r, calls = calls_of(name, ACCOUNT_ID="")
        kit.check(r.code != 0 and b"ACCOUNT_ID" in r.err and calls == [], name, r)
    with open("refusals", "w", encoding="ascii") as f:
        json.dump({"RegisterCertificateWithoutCA": {"Error": {"Code": "ResourceAlreadyExistsException", "Message": "there"}}}, f)
    r, calls = calls_of("register-without-ca.sh", AWS_STUB_ANSWERS=os.path.abspath("refusals"))
    kit.check(r.code == 0 and [c["operation"] for c in calls[:3]] == ["RegisterCertificateWithoutCA", "DescribeCertificate",
                                                                      "AttachPolicy"], "registered already:", r, calls)
    r, calls = calls_of("bulk-upload.sh", BUCKET="")
    kit.check(r.code != 0 and b"BUCKET" in r.err and calls == [], r)
    return made


def run_meanings(made):
    """What the calls say, where it matters."""
    ca, proof = read("k-run/ca.pem"), read("k-run/verification.pem")
    asked = only(made["register-ca-default.sh"], "RegisterCACertificate")
    kit.check(asked == {"caCertificate": ca, "verificationCertificate": proof, "certificateMode": "DEFAULT"}, asked)
    asked = only(made["register-ca-sni-only.sh"], "RegisterCACertificate")
    kit.check(asked == {"caCertificate": ca, "certificateMode": "SNI_ONLY"}, asked)
    for name, key, value in (("activate-ca.sh", "newStatus", "ACTIVE"), ("undo-activate-ca.sh", "newStatus", "INACTIVE"),
                             ("enable-auto-registration.sh", "newAutoRegistrationStatus", "ENABLE"),
                             ("undo-enable-auto-registration.sh", "newAutoRegistrationStatus", "DISABLE"),
                             ("enable-jitp.sh", "newAutoRegistrationStatus", "ENABLE"),
                             ("undo-enable-jitp.sh", "removeAutoRegistration", True)):
        kit.check(only(made[name], "UpdateCACertificate")[key] == value, name, made[name])
    permission = only(made["jitr-rule.sh"], "AddPermission")
    kit.check(permission["SourceAccount"] == ACCOUNT and
              permission["SourceArn"] == f"arn:aws:iot:{REGION}:{ACCOUNT}:rule/certmill_activate", permission)
    function = only(made["jitr-function.sh"], "CreateFunction")
    kit.check(function["DeadLetterConfig"]["TargetArn"].endswith(":certmill-activate-failed"), function)
    listing = kit.must(["python3", "-m", "zipfile", "-l", "k-run/jitr_activate.zip"]).out
    kit.check(b"jitr_activate.py" in listing and function["Handler"] == "jitr_activate.handler", function)
    task = only(made["bulk-start.sh"], "StartThingRegistrationTask")
    kit.check(task["templateBody"] == read("k-run/things.template.json") and task["inputFileBucket"] == "acme-devices", task)
    registered = only(made["register-without-ca.sh"], "RegisterCertificateWithoutCA")
    kit.check(certmaker.unpem(registered["certificatePem"]) == certmaker.unpem(read("SN00000001.crt"))[:1], registered)
    kit.check(only(made["undo-register-without-ca.sh"], "UpdateCertificate")["newStatus"] == "INACTIVE", "undo")


# ---- against the rehearsal's control plane ----

def rehearsed():
    """The scripts of aws iot as they stand, with nothing but ENDPOINT_URL and the rehearsal's credentials in the environment."""
    if b"\n  rehearse " not in kit.mill("--help").out:
        kit.skip("certmill rehearse is not built: the kit's scripts against the control plane")
        return
    import aws_kit  # pylint: disable=import-outside-toplevel
    control = aws_kit.Control("served")
    account = control.says.get("account", ACCOUNT)
    env = {**control.environment, "ENDPOINT_URL": control.url, "ACCOUNT_ID": account, "AWS_REGION": control.says["region"],
           "BUCKET": "acme-devices", "PATH": f"{os.path.abspath('only-certmill')}:{os.environ['PATH']}"}
    os.mkdir("only-certmill")
    os.symlink(kit.CERTMILL, "only-certmill/certmill")
    aws_server.start("quick")

    def run(name, *args, codes=(0,)):
        r = kit.run(["sh", f"k-real/{name}", *args], env=env)
        kit.check(r.code in codes, name, r)
        return r

    iot = control.client()
    kit.check(make("k-real", code=iot.get_registration_code()["registrationCode"]).code == 0, "k-real")
    ca_id = hashlib.sha256(certmaker.unpem(read("k-real/ca.pem"))[0]).hexdigest()

    def ca():
        return iot.describe_ca_certificate(certificateId=ca_id)["certificateDescription"]

    def is_now(status, auto, mode="DEFAULT"):
        now = ca()
        kit.check((now["status"], now["autoRegistrationStatus"], now["certificateMode"]) == (status, auto, mode), now)

    run("register-ca-default.sh")
    is_now("INACTIVE", "DISABLE")
    # So much by awscli's own process; from here on it is started once.
    env["PATH"] = f"{os.path.abspath('quick')}:{env['PATH']}"
    again = run("register-ca-default.sh", codes=(254, 255))
    kit.check(b"ResourceAlreadyExistsException" in again.err, again)
    run("activate-ca.sh")
    run("enable-auto-registration.sh")
    is_now("ACTIVE", "ENABLE")
    run("create-policy.sh")
    run("undo-enable-auto-registration.sh")
    run("undo-activate-ca.sh")
    is_now("INACTIVE", "DISABLE")
    run("activate-ca.sh")
    run("enable-jitp.sh")
    config = iot.describe_ca_certificate(certificateId=ca_id)["registrationConfig"]
    kit.check(config["templateBody"] == read("k-real/jitp-template.json"), config)
    run("undo-enable-jitp.sh")
    is_now("ACTIVE", "DISABLE")
    rehearsed_bulk(control, iot, run, ca_id)
    rehearsed_alone(iot, run)
    run("undo-create-policy.sh")
    kit.check(iot.list_policies()["policies"] == [], "policies")
    run("undo-register-ca.sh")
    run("register-ca-sni-only.sh")
    is_now("INACTIVE", "DISABLE", "SNI_ONLY")
    run("undo-register-ca.sh")
    kit.check(iot.list_ca_certificates()["certificates"] == [], "CAs")
    control.close()


def rehearsed_bulk(control, iot, run, ca_id):
    run("bulk-export.sh", "fleet", "--quiet")
    os.makedirs(f"{control.says['buckets']}/acme-devices")
    shutil.copy("k-real/things.ndjson", f"{control.says['buckets']}/acme-devices/things.ndjson")
    task = run("bulk-start.sh").out.decode().strip()
    for _ in range(200):
        state = iot.describe_thing_registration_task(taskId=task)
        if state["status"] != "InProgress":
            break
        time.sleep(0.1)
    kit.check((state["status"], state["successCount"], state.get("failureCount", 0)) == ("Completed", 12, 0), state)
    kit.check(b"Completed" in run("bulk-status.sh", task).out, "bulk-status.sh")
    found = {c["certificateId"] for c in iot.list_certificates_by_ca(caCertificateId=ca_id, pageSize=250)["certificates"]}
    wanted = {json.loads(line)["certificate_id"] for line in read("fleet/manifest.ndjson").splitlines()}
    kit.check(found == wanted, "registered:", len(found), "wanted:", len(wanted))


def rehearsed_alone(iot, run):
    kit.must_mint("alone", "p384", "--count", "2", "--id-pattern", "alone-{seq}")
    kit.must([kit.CERTMILL, "extract", "alone", "alone-1", "alone-2", "--certificates-only", "--out", "."])
    files = ["alone-1.crt", "alone-2.crt"]
    ids = [hashlib.sha256(certmaker.unpem(read(f))[0]).hexdigest() for f in files]
    for _ in range(2):  # what is registered already is found
        run("register-without-ca.sh", *files)
    for i in ids:
        now = iot.describe_certificate(certificateId=i)["certificateDescription"]
        kit.check((now["status"], now["certificateMode"]) == ("ACTIVE", "SNI_ONLY"), now)
    kit.check(len(iot.list_targets_for_policy(policyName="certmill-device", pageSize=250)["targets"]) == 14, "targets")
    run("undo-register-without-ca.sh", *files)
    left = {c["certificateId"] for c in iot.list_certificates(pageSize=250)["certificates"]}
    kit.check(not left & set(ids), "left:", left & set(ids))


# ---- the function ----

class Refused(Exception):
    pass


class Cloud:
    """As much of AWS IoT and DynamoDB as the function sees."""

    def __init__(self, items):
        self.items = items
        self.status = {}
        self.things, self.attached = collections.defaultdict(set), collections.defaultdict(set)
        self.policies = {"certmill-device"}
        self.throttled = set()  # operations that fail once
        self.calls = []
        self.exceptions = types.SimpleNamespace(ResourceAlreadyExistsException=type("Exists", (Refused,), {}))

    def client(self, service, config=None):
        kit.check(service in ("iot", "dynamodb") and config is not None, "client", service)
        return self

    def note(self, operation):
        self.calls.append(operation)
        if operation in self.throttled:
            self.throttled.discard(operation)
            raise Refused(f"{operation}: ThrottlingException")

    def describe_certificate(self, *, certificateId):
        self.note("iot:DescribeCertificate")
        return {"certificateDescription": {"status": self.status[certificateId], "certificateArn": f"arn:cert/{certificateId}"}}

    def update_certificate(self, *, certificateId, newStatus):
        self.note("iot:UpdateCertificate")
        self.status[certificateId] = newStatus

    def get_item(self, *, TableName, Key, ConsistentRead):
        self.note("dynamodb:GetItem")
        kit.check(TableName == "certmill-allow-list" and ConsistentRead, "get_item")
        item = self.items.get(Key["certificateId"]["S"])
        return {"Item": item} if item else {}

    def create_thing(self, *, thingName):
        self.note("iot:CreateThing")
        if thingName == "taken":
            raise self.exceptions.ResourceAlreadyExistsException()
        self.things[thingName]  # pylint: disable=pointless-statement

    def attach_thing_principal(self, *, thingName, principal):
        self.note("iot:AttachThingPrincipal")
        self.things[thingName].add(principal)

    def attach_policy(self, *, policyName, target):
        self.note("iot:AttachPolicy")
        if policyName not in self.policies:
            raise Refused("ResourceNotFoundException")
        self.attached[target].add(policyName)


def load_function(cloud):
    """jitr_activate.py as Lambda would have it, with the cloud in boto3's place."""
    boto3, botocore, config = (types.ModuleType(n) for n in ("boto3", "botocore", "botocore.config"))
    boto3.client = cloud.client
    config.Config = lambda **how: how
    environ = {"ALLOW_LIST_TABLE": "certmill-allow-list", "DEVICE_POLICY": "certmill-device"}
    before = {n: sys.modules.get(n) for n in ("boto3", "botocore", "botocore.config")}
    sys.modules.update({"boto3": boto3, "botocore": botocore, "botocore.config": config})
    os.environ.update(environ)
    module = types.ModuleType("jitr_activate")
    try:
        exec(compile(read("k-run/jitr_activate.py"), "jitr_activate.py", "exec"), module.__dict__)  # pylint: disable=exec-used
    finally:
        for n, m in before.items():
            if m is None:
                del sys.modules[n]
            else:
                sys.modules[n] = m
        for n in environ:
            del os.environ[n]
    logging.getLogger().setLevel(logging.ERROR)
    return module


def event(certificate_id, ca_id):
    return {"certificateRegistrationTimestamp": "1623723165331", "awsAccountId": ACCOUNT, "timestamp": 1623724243659,
            "certificateStatus": "PENDING_ACTIVATION", "caCertificateId": ca_id, "certificateId": certificate_id}


def connect(cloud, certificate_id):
    cloud.status.setdefault(certificate_id, "PENDING_ACTIVATION")


def function():
    rows = [json.loads(line) for line in read("fleet/manifest.ndjson").splitlines()]
    kit.must([kit.CERTMILL, "reissue", "fleet", "SN00000003", "--reason", "test", "--quiet"])
    newer = json.loads(read("fleet/manifest.ndjson").splitlines()[-1])
    kit.must([kit.CERTMILL, "export", "fleet", "--to", "allow-list", "--out", "allowed.ndjson", "--quiet"])
    items = {i["certificateId"]["S"]: i for i in (json.loads(x)["Item"] for x in read("allowed.ndjson").splitlines())}
    cloud = Cloud(items)
    module = load_function(cloud)
    ca = rows[0]["ca_certificate_id"]
    first, old, unknown = rows[0]["certificate_id"], rows[2]["certificate_id"], "ab" * 32

    def arrives(certificate_id, wanted, ca_id=ca):
        connect(cloud, certificate_id)
        done = module.handler(event(certificate_id, ca_id), None)
        kit.check(done == wanted, certificate_id, done, "not", wanted)

    arrives(first, "activated")
    for _ in range(3):
        arrives(first, "left alone")
    arn = f"arn:cert/{first}"
    kit.check(cloud.status[first] == "ACTIVE" and cloud.things == {"SN00000001": {arn}} and
              cloud.attached == {arn: {"certmill-device"}}, "activated:", cloud.things, cloud.attached)
    arrives(unknown, "denied")  # whatever the CA signed and no list has: burned, foreign, forgotten
    arrives(unknown, "left alone")
    arrives(old, "denied")  # superseded
    arrives(newer["certificate_id"], "activated")
    kit.check(cloud.status[unknown] == cloud.status[old] == "INACTIVE" and len(cloud.attached) == 2, "denied:", cloud.status)
    cloud.status[first] = "REVOKED"
    arrives(first, "left alone")
    kit.check(cloud.status[first] == "REVOKED", "a late event revived a revoked certificate")
    arrives(rows[1]["certificate_id"], "denied", ca_id="cd" * 32)
    names = {"taken": "activated", "a.b": "activated"}
    for n, (name, wanted) in enumerate(names.items()):
        key = f"{n:064x}"
        items[key] = {"deviceId": {"S": name}, "caCertificateId": {"S": ca}}
        arrives(key, wanted)
    kit.check(cloud.things["taken"] == {f"arn:cert/{0:064x}"} and "a.b" not in cloud.things, cloud.things)
    throttled(cloud, module, rows[4:], ca)
    no_policy(cloud, module, rows[-1], ca)
    allowed = {a for d in ("jitr-function-permissions.json",) for a in actions(json.loads(read(f"k-run/{d}")))}
    used = set(cloud.calls)
    kit.check(used == {a for a in allowed if not a.startswith(("sqs:", "logs:"))}, "permissions:", used ^ allowed)


def throttled(cloud, module, rows, ca):
    """Each call fails once: the event that is repeated completes what was begun, and nothing is done twice."""
    steps = ("iot:DescribeCertificate", "dynamodb:GetItem", "iot:CreateThing", "iot:AttachThingPrincipal", "iot:AttachPolicy",
             "iot:UpdateCertificate")
    for row, step in zip(rows, steps):
        identity = row["certificate_id"]
        connect(cloud, identity)
        cloud.throttled.add(step)
        try:
            done = module.handler(event(identity, ca), None)
            kit.check(False, step, "went unnoticed:", done)
        except Refused:
            kit.check(cloud.status[identity] == "PENDING_ACTIVATION", step, cloud.status[identity])
        kit.check(module.handler(event(identity, ca), None) == "activated", step)
        arn = f"arn:cert/{identity}"
        kit.check(cloud.status[identity] == "ACTIVE" and cloud.things[row["device_id"]] == {arn} and
                  cloud.attached[arn] == {"certmill-device"}, step, "is not whole")


def no_policy(cloud, module, row, ca):
    cloud.policies.clear()
    connect(cloud, row["certificate_id"])
    try:
        module.handler(event(row["certificate_id"], ca), None)
        kit.check(False, "a missing policy went unnoticed")
    except Refused:
        kit.check(cloud.status[row["certificate_id"]] == "PENDING_ACTIVATION", "active without a policy")


# ---- whole or not at all ----

def limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def whole():
    for size in (0, 1, 300, 900, 1500, 2500):
        refused(f"files of {size} octets", make("never", preexec_fn=limited(size)), 3, "never.part")
    os.mkdir("small")
    mounted = kit.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "small"])
    if mounted.code != 0:
        kit.skip("a full disk: tmpfs can't be mounted here; run as root")
    else:
        try:
            refused("a full disk", make("small/kit"), 3, "No space left", out="small/kit")
            kit.check(os.listdir("small") == [], "left:", os.listdir("small"))
        finally:
            kit.must(["umount", "small"])
    with open("/dev/full", "wb") as full:
        r = make("k-untold", stdout=full)
    kit.check(r.code == 3, "a result that could not be printed", r)


def main():
    kit.enter_place("aws-kit")
    for ca, args in CAS.items():
        kit.ca_init(ca, "--subject", f"/O=Acme/CN=Acme {ca}", *args)
    kit.ca_init("ed", "--key", "Ed25519")
    kit.must_mint("fleet", "ca", "--count", "12")
    kit.must([kit.CERTMILL, "extract", "fleet", "SN00000001", "SN00000002", "--certificates-only", "--out", "."])
    kit.say("verification certificates")
    verification()
    from_requests()
    elsewhere()
    bad_requests()
    kit.say("documents")
    documents()
    shells()
    whole()
    if kit.SLOW:
        kit.skip("awscli: the sanitizers' builds leave it to the plain one")
    elif kit.tool("aws", "awscli"):
        kit.say("scripts")
        run_meanings(run_scripts())
        kit.say("control plane")
        rehearsed()
    if not os.path.exists("k-run"):
        make("k-run")
    kit.say("function")
    function()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
