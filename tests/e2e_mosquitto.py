#!/usr/bin/env python3
"""Goal: a device that has its bundle and key from a fleet gets into an MQTT broker, nobody else does. Method: mosquitto
with require_certificate on a free port of the loopback, mosquitto_pub with extracted files."""

import os
import socket
import subprocess
import sys
import time

import certmaker as cert
import e2e_kit as kit


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def server_certificate(ca, out):
    """For localhost, below the same root as the devices, by openssl's means."""
    key = cert.new_key(f"{out}.key")
    spki = cert.spki_of(key)
    with open(f"{ca}/name.der", "rb") as f:
        issuer = f.read()
    san = cert.ext("san", cert.seq(cert.tlv(0x82, b"localhost"), cert.tlv(0x87, b"\x7f\0\0\1")))
    der = cert.certificate(issuer=issuer, subject=cert.name(("CN", "localhost")), spki=spki, signing_key=f"{ca}/ca.key",
                           not_before="20250101000000Z", not_after="20480101000000Z",
                           extensions=[cert.basic(False), cert.key_usage(0x80, 7), cert.eku("serverAuth"), san,
                                       cert.ext("aki", cert.seq(cert.tlv(0x80, cert.key_id(cert.spki_of(
                                           f"{ca}/ca.key")))))])
    with open(f"{out}.crt", "w", encoding="ascii") as f:
        f.write(cert.pem("CERTIFICATE", der))


class Broker:
    """With its own configuration and port; as the user it runs as, since the files are ours."""

    def __init__(self, program, cafile, version):
        for _ in range(5):  # another process may take the free port first
            self.port = free_port()
            with open("mosquitto.conf", "w", encoding="ascii") as f:
                f.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                        f"user root\ncafile {os.path.abspath(cafile)}\ncertfile {os.path.abspath('server.crt')}\n"
                        f"keyfile {os.path.abspath('server.key')}\nrequire_certificate true\n"
                        f"use_identity_as_username true\ntls_version tlsv{version}\nlog_type all\n")
            self.log = open("mosquitto.log", "w+b")
            self.process = subprocess.Popen([program, "-c", "mosquitto.conf"], stdin=subprocess.DEVNULL,
                                            stdout=self.log, stderr=self.log)
            if self.answers():
                return
            self.close()
        raise SystemExit("mosquitto does not start:\n" + open("mosquitto.log", encoding="utf-8").read())

    def answers(self):
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return True
            time.sleep(0.02)
        return False

    def said(self):
        with open("mosquitto.log", "rb") as f:
            return f.read().decode(errors="replace")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def publish(program, broker, crt, key, version, cafile="good/ca.pem"):
    return kit.run([program, "-h", "127.0.0.1", "-p", str(broker.port), "--cafile", cafile, "--tls-version",
                    f"tlsv{version}", *(["--cert", crt, "--key", key] if crt else []), "-t", "devices/hello", "-m", "hello",
                    "-q", "1", "-d"], timeout=60)


def main():
    kit.enter_place("mosquitto")
    broker_program = kit.tool("mosquitto", "mosquitto")
    client = kit.tool("mosquitto_pub", "mosquitto-clients")
    if not broker_program or not client:
        kit.check(True)
        return kit.finish()
    cert.authority("good", common_name="Good Root")
    cert.authority("other", common_name="Good Root")  # the same name, another key
    kit.must([kit.CERTMILL, "ca", "init", "--quiet", "--out", "issuing", "--pathlen", "0", "--subject", "/CN=Issuing",
              "--issuer-cert", "good/ca.pem", "--issuer-key", "good/ca.key"])
    server_certificate("good", "server")
    devices = {}
    for name, ca, options in (("ec", "good", []), ("rsa", "good", ["--key", "RSA-2048"]), ("chained", "issuing", []),
                              ("ed25519", "good", ["--key", "Ed25519", "--profile", "tls-client"]),
                              ("tree", "good", ["--layout", "tree", "--key-format", "traditional"]),
                              ("stranger", "other", [])):
        kit.must_mint(f"fleet-{name}", ca, "--count", "2", "--id-pattern", f"{name}-{{seq}}", *options)
        kit.must([kit.CERTMILL, "extract", f"fleet-{name}", f"{name}-2", "--quiet"])
        devices[name] = (f"{name}-2.crt", f"{name}-2.key")
    for version in ("1.2", "1.3"):
        broker = Broker(broker_program, "good/ca.pem", version)
        try:
            for name, (crt, key) in devices.items():
                r = publish(client, broker, crt, key, version)
                taken = b"received PUBACK" in r.out
                if name == "stranger":
                    kit.check(r.code != 0 and not taken, f"TLS {version}: a stranger got in:", r)
                else:
                    kit.check(r.code == 0 and taken, f"TLS {version}: {name} was refused:", r, broker.said()[-500:])
            r = publish(client, broker, None, None, version)
            kit.check(r.code != 0 and b"PUBACK" not in r.out, f"TLS {version}: nobody got in:", r)
            r = publish(client, broker, devices["ec"][0], devices["rsa"][1], version)
            kit.check(r.code != 0 and b"PUBACK" not in r.out, f"TLS {version}: with another's key:", r)
            names = [n for n in devices if n != "stranger"]
            said = broker.said()
            kit.check(all(f"u'{n}-2'" in said for n in names), f"TLS {version}: the broker knows them by CN", said[-1500:])
        finally:
            broker.close()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
