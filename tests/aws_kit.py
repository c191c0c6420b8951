"""What the scripts about AWS IoT share: a network of loopback alone, the rehearsal's control plane, Debian's botocore
and awscli against it, certificates."""

import atexit
import ctypes
import fcntl
import importlib
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import warnings

import certmaker as cert
import e2e_kit as kit

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def leave_the_network():
    """Nothing but a loopback of our own from here on; where the system doesn't allow that, a word about it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        kit.skip("a network namespace (unshare is not permitted): that no traffic leaves loopback")
        return False
    with socket.socket() as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    return True


def botocore():
    """Debian's package, also under a Python that is not Debian's."""
    try:
        return importlib.import_module("botocore.session")
    except ImportError:
        sys.path.append("/usr/lib/python3/dist-packages")
        return importlib.import_module("botocore.session")


def for_the_plugin():
    """Mosquitto, which has no sanitizer, loads a plugin that may have one: that has to be there before."""
    if "address" not in kit.SANITIZE:
        return {}
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    return {"LD_PRELOAD": library.strip()}


class Control:
    """certmill rehearse --serve, until close()."""

    def __init__(self, directory, *options):
        self.errors = open(f"{directory}.err", "w+b")
        self.process = subprocess.Popen([kit.CERTMILL, "rehearse", "--serve", directory, "--json", *options],
                                        stdout=subprocess.PIPE, stderr=self.errors, stdin=subprocess.DEVNULL,
                                        env={**os.environ, **for_the_plugin()})
        atexit.register(self.process.kill)  # harmless when it has ended
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            kit.check(False, "certmill rehearse --serve does not start:", self.errors.read().decode())
            sys.exit(kit.finish())
        self.says = json.loads(line)
        self.url = self.says["endpoint_url"]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")},
            "AWS_ACCESS_KEY_ID": self.says["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.says["secret_access_key"],
            "AWS_DEFAULT_REGION": self.says["region"], "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": "",
            "AWS_CONFIG_FILE": "/nonexistent/config", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials"}

    def aws(self, *args, fails=False):
        """Debian's awscli; its JSON, or what it said on stderr where it has to fail."""
        done = kit.run(["aws", "--endpoint-url", self.url, "iot", *args], env=self.environment)
        kit.check(done.code in ((254, 255) if fails else (0,)), done)
        if fails:
            return done.err.decode()
        return json.loads(done.out) if done.out.strip() else {}

    def client(self, **change):
        """A botocore client with these credentials, which tries once."""
        warnings.simplefilter("ignore")
        core = botocore()
        os.environ.update({k: v for k, v in self.environment.items() if k.startswith("AWS_")})
        config = importlib.import_module("botocore.config")
        how = {"aws_access_key_id": self.says["access_key_id"], "aws_secret_access_key": self.says["secret_access_key"],
               "region_name": self.says["region"], **change}
        return core.get_session().create_client(
            "iot", endpoint_url=self.url, config=config.Config(retries={"max_attempts": 0}), **how)

    def close(self):
        self.process.send_signal(signal.SIGINT)
        try:
            kit.check(self.process.wait(30) == 0, "rehearse --serve does not end well by INT")
        except subprocess.TimeoutExpired:
            self.process.kill()
            kit.check(False, "rehearse --serve does not end by INT")
        self.errors.seek(0)
        text = self.errors.read()
        kit.check(not kit.BROKEN.search(text) and b"failed" not in text, "rehearse --serve said:", text.decode())
        self.errors.close()
        self.process.stdout.close()


def refused(call, name, status, /, *words, **args):
    """The call has to fail with this exception and status of the service; its answer."""
    try:
        got = call(**args)
    except importlib.import_module("botocore.exceptions").ClientError as e:
        error = e.response["Error"]
        got = (error["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"])
        kit.check(got == (name, status) and all(w in error["Message"] for w in words), name, status, words,
                  "instead:", got, error["Message"])
        return e.response
    kit.check(False, f"{name} was expected, instead:", got)
    return {}


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def first_pem(text):
    end = "-----END CERTIFICATE-----\n"
    return text[:text.index(end) + len(end)]


def certificate_id(pem_text):
    return hashlib.sha256(cert.unpem(first_pem(pem_text))[0]).hexdigest()


def leaf(ca, *subject, **change):
    """PEM of a certificate below the authority `ca`, with the CA's public key; subject: (type, text)…"""
    with open(f"{ca}/name.der", "rb") as f:
        issuer = f.read()
    return cert.pem("CERTIFICATE", cert.certificate(**{
        "issuer": issuer, "subject": cert.name(*subject), "spki": cert.spki_of(f"{ca}/ca.key"),
        "signing_key": f"{ca}/ca.key", "not_before": "20250101000000Z", "not_after": "20480101000000Z",
        "extensions": [cert.basic(False)], **change}))
