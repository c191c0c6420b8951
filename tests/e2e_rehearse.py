#!/usr/bin/env python3
"""Goal: a fleet's first connections against the stand-in for AWS IoT: every device is registered once, activated once,
connected, with events lost and a broker that dies too; whoever is no device of the fleet is refused with the right reason;
the steps that people type work. Method: certmill rehearse on small fleets (CM_REHEARSE_DEVICES: larger ones), and its
--serve with Debian's awscli, mosquitto_pub and mosquitto_sub, judged by list-certificates-by-ca and by what the subscriber
saw against the manifest; raw TLS clients for what no client library sends."""

import hashlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import aws_kit
import aws_server
import e2e_kit as kit

DEVICES = int(os.environ.get("CM_REHEARSE_DEVICES") or (50 if kit.SLOW else 200))
FEW = min(DEVICES, 200)
CROWD = 50 if kit.SLOW else 200
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}


def asan():
    """Debian's mosquitto takes a plugin that has AddressSanitizer only when that is there before everything else. What
    it says goes into files, since the broker's log does not outlive a rehearsal."""
    if "address" not in kit.SANITIZE:
        return {}
    found = kit.run(["gcc", "-print-file-name=libasan.so"]).out.decode().strip()
    return {"LD_PRELOAD": found, "ASAN_OPTIONS": f"log_path={os.getcwd()}/sanitizer:malloc_context_size=5"}


def manifest(fleet):
    with open(f"{fleet}/manifest.ndjson", encoding="utf-8") as f:
        return {row["device_id"]: row["certificate_id"] for row in map(json.loads, filter(str.strip, f))}


def rehearse(fleet, *options, code=0, env=None):
    r = kit.run([kit.CERTMILL, "rehearse", fleet, "--json", *options], env={**os.environ, **asan(), **(env or {})})
    if not kit.check(r.code == code, f"rehearse {fleet} {options}: exit {r.code}", r):
        return {}
    return json.loads(r.out)


def all_good(what, told, devices):
    for name in ("devices", "registered", "activated", "connected", "published"):
        kit.check(told.get(name) == devices, f"{what}: {name} {told.get(name)} of {devices}", told)
    kit.check(told.get("refused") == 0 and told.get("failures") == [], what, told)


def faults():
    told = rehearse("ec", "--devices", str(FEW), "--faults", "--seed", "7")
    all_good("faults", told, FEW)
    kit.check(told["rule"]["events_lost"] > FEW / 10 and told["fault_seed"] == 7, "a fifth of the events is lost", told)


def judged_by_the_list(serving, fleet, devices):
    """The fleet connects; its report; and each device is in the list of the CA's certificates once, ACTIVE."""
    told = serving.begin()
    wanted = sorted(manifest(fleet).values()) if devices is None else None
    found = serving.by_ca(told["ca_certificate_id"])
    kit.check({s for _, s in found} == {"ACTIVE"}, fleet, [c for c in found if c[1] != "ACTIVE"])
    ids = sorted(i for i, _ in found)
    kit.check(ids == wanted if wanted else len(ids) == len(set(ids)) == devices and set(ids) <= set(manifest(fleet).values()),
              fleet, "registered once each", len(ids))
    all_good(fleet, told, devices or len(wanted))
    return told


def intermediates():
    """The CA that signs is an intermediate; bundles are leaf, intermediate, root; only the intermediate is registered."""
    kit.must([kit.CERTMILL, "ca", "init", "--quiet", "--out", "issuing", "--pathlen", "0", "--subject", "/CN=Issuing",
              "--issuer-cert", "ca/ca.pem", "--issuer-key", "ca/ca.key"])
    kit.must_mint("chained", "issuing", "--count", "20", "--id-pattern", "chained-{seq}", "--subject", "/CN={id}")
    kit.must([kit.CERTMILL, "extract", "chained", "chained-1", "--quiet"])
    with open("chained-1.crt", encoding="ascii") as f:
        kit.check(f.read().count("BEGIN CERTIFICATE") == 3, "leaf, intermediate, root")
    serving = Serving("chained-service", "chained")
    try:
        told = judged_by_the_list(serving, "chained", None)
        kit.check([c["certificateId"] for c in serving.core().list_ca_certificates()["certificates"]] ==
                  [told["ca_certificate_id"]], "only the intermediate is registered")
        accepted(serving, "chained-1", "chained-1/hello")
        refused(serving, "hand-3", "certificate verify failed", alert="UNKNOWN_CA")  # by the root, which isn't registered
    finally:
        serving.close()


def killed_brokers():
    """Row stored and event unsent; event sent and not marked: the broker dies there, and is started again."""
    few = min(DEVICES, 100)
    for point in ("row-stored:1", "row-stored:17", "event-sent:1", "event-sent:3"):
        serving = Serving(point.replace(":", "-"), "ec", "--devices", str(few), env={"CM_REHEARSAL_FAULT": point})
        try:
            told = judged_by_the_list(serving, "ec", few)
            kit.check(told.get("broker_restarts") == 1, f"{point}: the broker died once", told)
            sockets = serving.sockets_of_the_broker()
            kit.check(sockets < 20, f"{point}: a broker that was started again holds the devices' sockets:", sockets)
        finally:
            serving.close()


def failures():
    """A device whose key is not its own, or whose certificate was damaged, fails alone, with the reason; nothing of the
    rehearsal stays."""
    kit.must_mint("tree", "ca", "--count", "3", "--layout", "tree", "--id-pattern", "t-{seq}", "--subject", "/CN={id}")
    with open("tree/keys/000000/t-1.key", "rb") as f:
        other = f.read()
    with open("tree/keys/000000/t-2.key", "wb") as f:
        f.write(other)
    with open("tree/chains/000000/t-3.crt", encoding="ascii") as f:
        changed = change_signature(f.read())
    with open("tree/chains/000000/t-3.crt", "w", encoding="ascii") as f:
        f.write(changed)
    told = rehearse("tree", "--timeout", "5", code=1)
    why = {f["device_id"]: f["reason"] for f in told["failures"]}
    kit.check(set(why) == {"t-2", "t-3"} and "belong together" in why["t-2"], told)
    kit.check("refused in the TLS handshake: decrypt error" in why["t-3"], told)
    kit.check((told["devices"], told["published"], told["refused"]) == (3, 1, 2), told)
    for options in ([], ["tree", "--limits", "aws"]):
        r = kit.run([kit.CERTMILL, "rehearse", *options])
        kit.check(r.code == 2, r)
    with subprocess.Popen([kit.CERTMILL, "rehearse", "ec"], env={**os.environ, **asan(), "TMPDIR": os.getcwd()},
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as p:
        wait_for(lambda: any(n.startswith("certmill-rehearsal.") for n in os.listdir(".")))
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        kit.check(p.returncode == 130, "exit by INT", p.returncode)
    kit.check(not any(n.startswith("certmill-rehearsal.") for n in os.listdir(".")), "left behind", os.listdir("."))


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


class Serving:
    def __init__(self, name, *options, env=None):
        self.log, self.errors = f"{name}/broker/broker.log", f"{name}.err"
        self.process = subprocess.Popen([kit.CERTMILL, "rehearse", "--serve", name, "--json", *options], stdout=subprocess.PIPE,
                                        stdin=subprocess.PIPE, stderr=open(self.errors, "wb"),
                                        env={**os.environ, **asan(), **(env or {})})
        self.told = json.loads(self.process.stdout.readline())
        self.env = {**os.environ, "AWS_ACCESS_KEY_ID": self.told["access_key_id"], "AWS_EC2_METADATA_DISABLED": "true",
                    "AWS_SECRET_ACCESS_KEY": self.told["secret_access_key"], "AWS_DEFAULT_REGION": self.told["region"]}

    def aws(self, *args):
        r = kit.run(["aws/aws", "--endpoint-url", self.told["endpoint_url"], "--output", "json", "iot", *args], env=self.env)
        kit.check(r.code == 0, "aws iot", args, r)
        return json.loads(r.out) if r.code == 0 and r.out.strip() else {}

    def register(self, ca, *options):
        return self.aws("register-ca-certificate", "--ca-certificate", f"file://{ca}", "--certificate-mode", "SNI_ONLY",
                        "--set-as-active", "--allow-auto-registration", *options)["certificateId"]

    def core(self):
        """The service's own client library."""
        return aws_kit.botocore().get_session().create_client(
            "iot", endpoint_url=self.told["endpoint_url"], region_name=self.told["region"],
            aws_access_key_id=self.told["access_key_id"], aws_secret_access_key=self.told["secret_access_key"])

    def by_ca(self, ca_id):
        """Page by page: [(certificateId, status)]."""
        found, more, core = [], {}, self.core()
        while True:
            page = core.list_certificates_by_ca(caCertificateId=ca_id, pageSize=100, **more)
            found += [(c["certificateId"], c["status"]) for c in page["certificates"]]
            if not page.get("nextMarker"):
                return found
            more = {"marker": page["nextMarker"]}

    def sockets_of_the_broker(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            broker = f.read().split()[-1]
        links = (os.readlink(f"/proc/{broker}/fd/{n}") for n in os.listdir(f"/proc/{broker}/fd"))
        return sum(link.startswith("socket:") for link in links)

    def begin(self):
        """Enter: the fleet connects. Its report."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline() or b"{}")

    def status(self, certificate_id):
        return self.aws("describe-certificate", "--certificate-id", certificate_id)["certificateDescription"]["status"]

    def set_status(self, certificate_id, status):
        self.aws("update-certificate", "--certificate-id", certificate_id, "--new-status", status)

    def attach(self, certificate_id):
        self.aws("attach-policy", "--policy-name", "all", "--target",
                 f"arn:aws:iot:us-east-1:123456789012:cert/{certificate_id}")

    def client(self, program, crt, key, *args):
        return [program, "-h", "127.0.0.1", "-p", str(self.told["broker_port"]), "--cafile", self.told["cafile"], "--cert", crt,
                "--key", key, "--tls-version", "tlsv1.2", *args]

    def publish(self, name, crt=None, topic="foo/bar"):
        return kit.run(self.client("mosquitto_pub", crt or f"{name}.crt", f"{name}.key", "-q", "1", "-t", topic, "-i", name,
                                   "-m", "Hello", "-d"), timeout=60)

    def said(self, pattern, since=0):
        """The broker's log has it behind that octet, or will in a moment."""
        def look():
            with open(self.log, encoding="utf-8", errors="replace") as f:
                f.seek(since)
                return re.search(pattern, f.read())
        return wait_for(look, 5)

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self.process.stdin.close()
        self.process.stdout.close()
        kit.check(self.process.returncode in (0, 130), "rehearse --serve ended with", self.process.returncode)


def refused(serving, name, why, crt=None, alert=None):
    """Closed, with the reason in the broker's log; in the handshake, with an alert for the device."""
    since = os.path.getsize(serving.log)
    r = serving.publish(name, crt)
    kit.check(r.code != 0 and b"CONNACK" not in r.out and b"PUBACK" not in r.out, f"{name} got in:", r)
    kit.check(serving.said(why, since), f"{name}: no {why} in the broker's log")
    if alert:
        kit.check(alert in alert_of(serving, crt or f"{name}.crt", f"{name}.key"), f"{name}: not the alert {alert}")


def accepted(serving, name, topic="foo/bar"):
    r = serving.publish(name, topic=topic)
    kit.check(r.code == 0 and b"received PUBACK" in r.out, f"{name} was refused:", r)


def listener(serving):
    """A mosquitto_sub to the events, by a certificate that is registered beforehand. Its log grows in events.log."""
    made = serving.aws("register-certificate", "--certificate-pem", "file://leaf.pem", "--status", "ACTIVE")["certificateId"]
    serving.attach(made)
    with open("events.log", "wb") as log:
        sub = subprocess.Popen(serving.client("mosquitto_sub", "hand-1.crt", "hand-1.key", "-i", "hand-1", "-q", "1", "-t",
                                              "$aws/events/certificates/registered/#", "-F", "%t %p"), stdout=log)
    kit.check(serving.said(r"as hand-1 "), "the listener is not there")
    time.sleep(0.5)
    return sub


def events():
    with open("events.log", encoding="utf-8") as f:
        return [(line.split(" ", 1)[0], json.loads(line.split(" ", 1)[1])) for line in f if line.endswith("\n")]


def by_hand(serving, ca_id):
    ids = manifest("hand")
    me = ids["hand-2"]
    for round in (1, 2):  # the event is sent again at each connection
        refused(serving, "hand-2", f"{me} closed as {('registered', 'pending')[round - 1]}")
        kit.check(wait_for(lambda n=round: [e["certificateId"] for _, e in events()].count(me) == n), "events", events())
    topic, event = events()[0]
    kit.check(topic == f"$aws/events/certificates/registered/{ca_id}", topic)
    kit.check(event["caCertificateId"] == ca_id and event["certificateStatus"] == "PENDING_ACTIVATION" and
              event["awsAccountId"] == "123456789012" and isinstance(event["timestamp"], int) and
              event["certificateRegistrationTimestamp"].isdigit(), event)
    serving.set_status(me, "ACTIVE")
    refused(serving, "hand-2", f"{me} closed as policy")
    serving.attach(me)
    accepted(serving, "hand-2")
    for status in ("INACTIVE", "REVOKED"):
        serving.set_status(me, status)
        refused(serving, "hand-2", f"{me} closed as {status.lower()}")


def judged_by_others(fleet):
    """Not what the program says of itself: the list of the CA's certificates page by page, and what mosquitto_sub saw."""
    serving = Serving(f"{fleet}-service", fleet)
    try:
        serving.aws("create-policy", "--policy-name", "all", "--policy-document", json.dumps(ALLOW))
        sub = listener(serving)
        try:
            told = serving.begin()
            wanted = set(manifest(fleet).values())
            kit.check(wait_for(lambda: {e["certificateId"] for _, e in events()} >= wanted), "an event for each", len(events()))
            listeners = manifest("hand")["hand-1"]
            found = [c for c in serving.by_ca(told["ca_certificate_id"]) if c[0] != listeners]
            kit.check(len(found) == len(wanted) and set(found) == {(i, "ACTIVE") for i in wanted},
                      "each is registered once, and ACTIVE", len(found), len(wanted))
            kit.check({e["certificateId"] for _, e in events()} == wanted, "an event of something else")
            all_good(fleet, {**told, "others_registered": 0}, DEVICES)
            kit.check(told["others_registered"] == 1, "the listener's certificate is no device of the fleet", told)
        finally:
            sub.terminate()
            sub.wait()
        rule_goes_on(serving, fleet)
    finally:
        serving.close()


def rule_goes_on(serving, fleet):
    """Who connects by hand after the report: a device of the fleet is let in again, one of another fleet is denied."""
    kit.must([kit.CERTMILL, "extract", fleet, f"{fleet}-1", "--quiet"])
    accepted(serving, f"{fleet}-1", f"{fleet}-1/hello")
    stranger = manifest("hand")["hand-2"]
    refused(serving, "hand-2", f"{stranger} closed as registered")
    with open(serving.errors, encoding="utf-8") as f:
        kit.check(wait_for(lambda: f"denied {stranger}: unknown" in (f.seek(0), f.read())[1], 10), "the denial is told")


def strangers(serving):
    kit.must_mint("stranger", "other", "--count", "1", "--id-pattern", "stranger-{seq}", "--subject", "/CN={id}")
    kit.must([kit.CERTMILL, "extract", "stranger", "stranger-1", "--quiet"])
    refused(serving, "stranger-1", "certificate verify failed", alert="UNKNOWN_CA")
    with open("hand-3.crt", encoding="ascii") as f, open("changed.crt", "w", encoding="ascii") as out:
        out.write(change_signature(f.read()))
    refused(serving, "hand-3", "certificate verify failed", "changed.crt", alert="DECRYPT_ERROR")
    known = {c["certificateId"] for c in serving.aws("list-certificates")["certificates"]}
    kit.check(not known & {manifest("stranger")["stranger-1"], manifest("hand")["hand-3"]}, "a stranger was registered", known)


def change_signature(pem):
    """Another octet in the first certificate's signature."""
    at = len(pem.split("-----END")[0]) - 30
    return pem[:at] + ("A" if pem[at] != "A" else "B") + pem[at + 1:]


def alert_of(serving, crt, key):
    """What the broker says in TLS to a client with this certificate."""
    context = ssl.create_default_context(cafile=serving.told["cafile"])
    context.load_cert_chain(crt, key)
    try:
        with socket.create_connection(("127.0.0.1", serving.told["broker_port"]), 30) as raw:
            with context.wrap_socket(raw, server_hostname="localhost") as s:
                s.recv(1)
    except ssl.SSLError as e:
        return e.reason or ""
    return ""


def identities():
    """The rule and what is not in the fleet: each denied, INACTIVE then, and told with what it is; and a thing that has
    another certificate besides."""
    mint = ["mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", "ident", "--count", "50", "--batch", "8",
            "--plaintext-keys", "--id-pattern", "id-{seq}", "--subject", "/CN={id}"]
    faulty = os.path.join(os.environ["CM_BUILD"], "tests/faults/certmill-faulty")
    r = kit.run([faulty, *mint], env={**os.environ, "CERTMILL_FAULTS": "tune commit_devices 16;kill point@journal.write 4"})
    kit.check(r.code == -9, "killed while it minted", r)
    kit.must([kit.CERTMILL, "resume", "--quiet", "ident", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key"])
    old = manifest("ident")["id-7"]
    kit.must([kit.CERTMILL, "extract", "ident", "id-7", "id-8", "--quiet"])
    kit.must([kit.CERTMILL, "reissue", "--quiet", "ident", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--reason", "test", "id-7"])
    burned = sign_under_a_burned_prefix("ident")
    unknown, doubled = (manifest(f)[d] for f, d in (("hand", "hand-2"), ("ident", "id-8")))
    serving = Serving("ident-service", "ident", "--devices", "5")
    try:
        serving.aws("create-policy", "--policy-name", "all", "--policy-document", json.dumps(ALLOW))
        other = serving.aws("register-certificate", "--certificate-pem", "file://leaf.pem", "--status", "ACTIVE")
        serving.aws("create-thing", "--thing-name", "id-8")
        serving.aws("attach-thing-principal", "--thing-name", "id-8", "--principal", other["certificateArn"])
        for name, me in (("burned", burned), ("id-7", old), ("hand-2", unknown)):
            refused(serving, name, f"{me} closed as registered")
            kit.check(wait_for(lambda i=me: serving.status(i) == "INACTIVE"), f"{name} is not denied", serving.status(me))
            refused(serving, name, f"{me} closed as inactive")
        refused(serving, "id-8", f"{doubled} closed as registered")
        kit.check(wait_for(lambda: serving.status(doubled) == "ACTIVE"), "a doubled one is activated")
        accepted(serving, "id-8", "id-8/hello")
        told = serving.begin()["rule"]
    finally:
        serving.close()
    kit.check([told[n] for n in ("burned", "superseded", "unknown", "doubled")] == [1, 1, 1, 1], told)
    wanted = [{"what": "burned", "certificate_id": burned}, {"what": "superseded", "certificate_id": old, "device_id": "id-7"},
              {"what": "unknown", "certificate_id": unknown}, {"what": "doubled", "certificate_id": doubled, "device_id": "id-8",
                                                               "other_certificate_id": other["certificateId"]}]
    kit.check(told["findings"] == wanted, told["findings"], "instead of", wanted)


def sign_under_a_burned_prefix(fleet):
    """A certificate such as the killed run may have signed and nobody got: burned.crt, burned.key; its id."""
    with open(f"{fleet}/burned.ndjson", encoding="utf-8") as f:
        prefix = json.loads(f.readline())["prefix"]
    kit.must(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=burned",
              "-keyout", "burned.key", "-out", "burned.csr"])
    kit.must(["openssl", "x509", "-req", "-in", "burned.csr", "-CA", "ca/ca.pem", "-CAkey", "ca/ca.key", "-set_serial",
              f"0x{prefix}{'5a' * 12}", "-days", "1", "-out", "burned.crt"])
    with open("burned.crt", encoding="ascii") as f:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()


def connect_packet(name):
    body = b"\0\4MQTT\4\2\0\x3c" + len(name).to_bytes(2, "big") + name.encode()
    return bytes([0x10, len(body)]) + body


def tls(serving, name=None, most=ssl.TLSVersion.MAXIMUM_SUPPORTED):
    context = ssl.create_default_context(cafile=serving.told["cafile"])
    context.maximum_version = most
    if name:
        context.load_cert_chain(f"{name}.crt", f"{name}.key")
    raw = socket.create_connection(("127.0.0.1", serving.told["broker_port"]), 30)
    return context.wrap_socket(raw, server_hostname="localhost")


def crowd(serving, ca_id):
    """Handshakes first, all of them, finished on both sides (with TLS 1.2 the broker's Finished is the last word); then every
    CONNECT at once."""
    kit.must_mint("crowd", "ca", "--count", str(CROWD), "--id-pattern", "crowd-{seq}", "--subject", "/CN={id}")
    ids = manifest("crowd")
    kit.must([kit.CERTMILL, "extract", "crowd", *ids, "--quiet"])
    since = os.path.getsize(serving.log)
    before = {}
    answers = {}

    def all_there():
        """Nobody has said CONNECT yet, and every connection stands."""
        with open(serving.log, encoding="utf-8", errors="replace") as f:
            f.seek(since)
            log = f.read()
        before["connections"], before["closed"] = log.count("New connection from"), len(re.findall("closed|rror", log))

    barrier = threading.Barrier(CROWD, action=all_there)

    def device(name):
        with tls(serving, name, ssl.TLSVersion.TLSv1_2) as s:
            barrier.wait(60)
            s.sendall(connect_packet(name))
            try:
                answers[name] = s.recv(10)
            except OSError:
                answers[name] = b""

    threads = [threading.Thread(target=device, args=(name, )) for name in ids]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    kit.check(before == {"connections": CROWD, "closed": 0}, "handshakes held at the barrier", before)
    kit.check(answers == dict.fromkeys(ids, b""), "some got an answer", {n: a for n, a in answers.items() if a})
    wanted = set(ids.values())
    found = [i for i, _ in serving.by_ca(ca_id)]
    kit.check(len(found) == len(set(found)) and wanted <= set(found), "registered once each", len(found))
    kit.check(wait_for(lambda: wanted <= {e["certificateId"] for _, e in events()}), "an event for each", len(events()))


def templates(serving):
    """The other CA provisions by itself: with a parameter that its devices lack, and without."""
    def body(*extra):
        return json.dumps({"Parameters": {f"AWS::IoT::Certificate::{n}": {"Type": "String"} for n in ("CommonName", "Id", *extra)},
                           "Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {
                               "ThingName": {"Ref": f"AWS::IoT::Certificate::{extra[0] if extra else 'CommonName'}"}}},
                               "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
                                   "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"}},
                               "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "all"}}}})
    role = "arn:aws:iam::123456789012:role/JITPRole"
    me = manifest("stranger")["stranger-1"]
    ca_id = serving.register("other/ca.pem", "--registration-config", json.dumps({"templateBody": body("Country"),
                                                                                  "roleArn": role}))
    time.sleep(0.5)  # the broker looks for new CAs several times a second
    refused(serving, "stranger-1", f"{me} closed as template: .*Country")
    kit.check(serving.status(me) == "PENDING_ACTIVATION", "not activated")
    serving.aws("update-ca-certificate", "--certificate-id", ca_id, "--registration-config",
                json.dumps({"templateBody": body(), "roleArn": role}))
    refused(serving, "stranger-1", f"{me} closed as provisioned")
    accepted(serving, "stranger-1")
    kit.check(serving.aws("list-thing-principals", "--thing-name", "stranger-1")["principals"][0].endswith(me), "its thing")


def garbage(serving):
    """Random octets instead of TLS, and behind a good handshake; half a CONNECT; what an unregistered one may send."""
    for i in range(200):
        data = kit.rng.randbytes(kit.rng.randrange(1, 400))
        try:
            if i % 2:
                with socket.create_connection(("127.0.0.1", serving.told["broker_port"]), 30) as s:
                    s.sendall(data)
            else:
                name = f"crowd-{kit.rng.randrange(1, CROWD)}"
                good = connect_packet(name)
                cut = kit.rng.randrange(len(good) + 1)
                with tls(serving, name) as s:
                    s.sendall((data, good[:cut] + data, bytes([kit.rng.randrange(256)]) + data)[i // 2 % 3])
        except OSError:
            pass  # the broker may close at any time
    kit.check(serving.process.poll() is None, "rehearse --serve is gone after garbage")


def main():
    kit.enter_place("rehearse")
    tools = [kit.tool(*t) for t in (("mosquitto", "mosquitto"), ("mosquitto_pub", "mosquitto-clients"), ("aws", "awscli"))]
    if not all(tools):
        kit.check(True)
        return kit.finish()
    for ca in ("ca", "other"):
        kit.must([kit.CERTMILL, "ca", "init", "--quiet", "--out", ca, "--subject", f"/CN=Rehearsal {ca}"])
    aws_server.start("aws")
    for name, key in (("ec", "P-256"), ("rsa", "RSA-2048")):
        kit.must_mint(name, "ca", "--count", str(DEVICES), "--key", key, "--id-pattern", name + "-{seq}", "--subject", "/CN={id}")
    kit.must_mint("hand", "ca", "--count", "3", "--id-pattern", "hand-{seq}", "--subject", "/CN={id}")
    kit.must([kit.CERTMILL, "extract", "hand", "hand-1", "hand-2", "hand-3", "--quiet"])
    with open("hand-1.crt", encoding="ascii") as f, open("leaf.pem", "w", encoding="ascii") as out:
        out.write(f.read().split("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n")
    for name in ("ec", "rsa"):
        judged_by_others(name)
    identities()
    faults()
    intermediates()
    killed_brokers()
    failures()
    serving = Serving("service")
    try:
        serving.aws("create-policy", "--policy-name", "all", "--policy-document", json.dumps(ALLOW))
        ca_id = serving.register("ca/ca.pem")
        sub = listener(serving)
        try:
            by_hand(serving, ca_id)
            strangers(serving)
            crowd(serving, ca_id)
            templates(serving)
            garbage(serving)
            accepted(serving, "stranger-1")
        finally:
            sub.terminate()
            sub.wait()
    finally:
        serving.close()
    for name in filter(lambda n: n.startswith("sanitizer."), os.listdir(".")):
        with open(name, encoding="utf-8", errors="replace") as f:
            kit.check(False, name, f.read(3000))
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
