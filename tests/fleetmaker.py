"""Writes a whole run directory after docs/formats.md, so that a device can be planted in a real fleet with nothing
wrong but what was planted: bundle, key, digests, ids, offsets, padding, journal all fit. Knows none of certmill's code.

    fleet = Fleet.read("fleet")                 # what certmill mint has written, tar layout, PEM
    fleet.plant(3, leaf=der, key=der)           # either may be left out
    fleet.write("copy")
"""

import base64
import hashlib
import json
import math
import os
import re
import subprocess
import tempfile

import certmaker

PAGE, BLOCK = 4096, 512
E = 65537


def xxh128(blobs):
    """XXH3-128 of each, as xxh128sum prints it."""
    with tempfile.TemporaryDirectory() as place:
        names = []
        for i, blob in enumerate(blobs):
            names.append(f"{place}/{i}")
            with open(names[-1], "wb") as f:
                f.write(blob)
        out = subprocess.run(["xxh128sum", *names], check=True, capture_output=True, text=True, timeout=60).stdout
    return [line.split()[0] for line in out.splitlines()]


def octets(path):
    with open(path, "rb") as f:
        return f.read()


def unpem(label, data):
    text = re.search(rf"-----BEGIN {label}-----\n(.*?)-----END {label}-----\n", data.decode("ascii"), re.S)
    return base64.b64decode(text.group(1))


def elements(der, at=0):
    """The elements inside the element at `at`, each whole."""
    start, end = certmaker.body_at(der, at)
    found = []
    while start < end:
        _, stop = certmaker.body_at(der, start)
        found.append(der[start:stop])
        start = stop
    return found


def retag(header, name, size):
    """A tar header with another size."""
    h = bytearray(header)
    assert bytes(h[:len(name)]) == name
    h[124:136] = b"%011o\0" % size
    h[148:156] = b" " * 8
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def padding(header, gap):
    """gap octets, 1024 or more: a pax comment that is nothing but spaces."""
    size = gap - BLOCK
    h = bytearray(BLOCK)
    h[0:17], h[100:108], h[108:124] = b"pax_global_header", b"0000644\0", b"0000000\0" * 2
    h[124:136], h[136:148], h[156:157], h[257:265] = b"%011o\0" % size, header[136:148], b"g", b"ustar\x0000"
    h[329:345] = header[329:345]
    h[148:156] = b" " * 8
    h[148:156] = b"%06o\0 " % sum(h)
    text = b"%d comment=" % size
    return bytes(h) + text + b" " * (size - len(text) - 1) + b"\n"


class Device:
    def __init__(self, row, header, stored):
        self.row, self.header, self.stored = row, header, stored  # the last two by side

    @property
    def leaf(self):
        return unpem("CERTIFICATE", self.stored["chain"])

    @property
    def key(self):
        return unpem("PRIVATE KEY", self.stored["key"])


class Fleet:
    def __init__(self, run, ca_pem, devices, records):
        self.run, self.ca_pem, self.devices, self.records = run, ca_pem, devices, records

    @classmethod
    def read(cls, d):
        run = json.loads(octets(f"{d}/run.json"))
        devices, held = [], {}
        for line in octets(f"{d}/manifest.ndjson").split(b"\n")[:-1]:
            row = json.loads(line)
            header, stored = {}, {}
            for side in ("chain", "key"):
                p = row[side]
                data = held.setdefault(p["segment"], octets(f"{d}/{p['segment']}"))
                header[side] = data[p["offset"] - BLOCK:p["offset"]]
                stored[side] = data[p["offset"]:p["offset"] + p["length"]]
            devices.append(Device(row, header, stored))
        records = [json.loads(line[65:]) for line in octets(f"{d}/journal").split(b"\n")[:-1]]
        return cls(run, octets(f"{d}/ca.pem"), devices, records)

    def plant(self, i, leaf=None, key=None, stored_key=None):
        """leaf, key: DER; stored_key: the key file as it is to be."""
        device = self.devices[i]
        if leaf is not None:
            device.stored["chain"] = certmaker.pem("CERTIFICATE", leaf).encode() + self.ca_pem
            device.row["certificate_id"] = hashlib.sha256(leaf).hexdigest()
            device.row["thumbprint_sha1"] = hashlib.sha1(leaf).hexdigest()
        if key is not None:
            stored_key = certmaker.pem("PRIVATE KEY", key).encode()
        if stored_key is not None:
            device.stored["key"] = stored_key

    def resign(self, i, ca_key, replace=None, extensions=None, tail=b"", spki=None, tbs_tail=b""):
        """The device's certificate with parts of it replaced, signed anew. replace: TBS element (0 the version, 1
        the serial, 4 the validity, 5 the subject, 6 the key) -> element; extensions: a function of their list, whole
        elements; spki: another public key, which its row and subjectKeyIdentifier follow; tail, tbs_tail: octets
        behind the certificate, and behind the last element of what is signed. Returns the DER."""
        device = self.devices[i]
        tbs, algorithm, _ = elements(device.leaf)
        parts = elements(tbs)
        exts = elements(elements(parts[7])[0])
        if spki is not None:
            key_id = certmaker.key_id(spki)
            own = certmaker.ext("ski", certmaker.tlv(4, key_id))
            exts = [own if e.startswith(own[:9]) else e for e in exts]
            parts[6] = spki
            device.row.update(spki_sha256=hashlib.sha256(spki).hexdigest(), ski=key_id.hex())
        for at, element in (replace or {}).items():
            parts[at] = element
        if extensions is not None:
            exts = extensions(exts)
        parts[7] = certmaker.tlv(0xa3, certmaker.seq(*exts))
        tbs = certmaker.seq(*parts, tbs_tail)
        signature = certmaker.sign(tbs, ca_key, "sha256", certmaker.family_of(certmaker.spki_of(ca_key)))
        return certmaker.seq(tbs, algorithm, certmaker.tlv(3, b"\0", signature)) + tail

    def _segment(self, side):
        """The only segment's octets; rows get their places in it."""
        out = bytearray()
        sums = xxh128([d.stored[side] for d in self.devices])
        for device, xxh3 in zip(self.devices, sums):
            place, data = device.row[side], device.stored[side]
            name = device.header[side].split(b"\0", 1)[0]
            out += retag(device.header[side], name, len(data))
            place.update(segment=f"{side}s/000000.tar", offset=len(out), length=len(data), xxh3=xxh3,
                         sha256=hashlib.sha256(data).hexdigest())
            out += data + b"\0" * (-len(data) % BLOCK)
        gap = -len(out) % PAGE
        if gap:
            out += padding(self.devices[0].header[side], gap if gap > BLOCK else gap + PAGE)
        return bytes(out)

    def _one_commit(self, manifest, lengths):
        """The journal's records: those of the original, with one commit of everything."""
        before = [r for r in self.records if r["type"] in ("run", "attempt", "reserve")]
        commits = [r for r in self.records if r["type"] == "commit"]
        end = [r for r in self.records if r["type"] == "end"]
        # Reservations that ride along with a commit stand before it here, by themselves.
        before += [{"type": "reserve", **c["reserve"]} for c in commits if c["reserve"]]
        commit = {**commits[0], "reserve": None, "commit": 1, "devices": len(self.devices), "manifest_bytes": len(manifest),
                  "rows_xxh3": xxh128([manifest])[0], "units": [[0, lengths["chain"], lengths["key"]]]}
        for ranges in ("seqs", "prefixes"):
            commit[ranges] = []
            for first, last in sorted(r for c in commits for r in c[ranges]):
                if commit[ranges] and commit[ranges][-1][1] == first - 1:
                    commit[ranges][-1][1] = last
                else:
                    commit[ranges].append([first, last])
        return [*before, commit, *end]

    def write(self, d):
        os.makedirs(f"{d}/chains")
        os.makedirs(f"{d}/keys", 0o700)
        lengths = {}
        for side, mode in (("chain", 0o644), ("key", 0o600)):
            segment = self._segment(side)
            lengths[side] = len(segment)
            path = f"{d}/{side}s/000000.tar"
            with open(path, "wb") as f:
                f.write(segment + b"\0" * PAGE)
            os.chmod(path, mode)
        text = b"\n".join(json.dumps(device.row, ensure_ascii=False, separators=(",", ":")).encode()
                          for device in self.devices)
        manifest = text + b" " * (-(len(text) + 1) % PAGE) + b"\n"
        self.run["outcome"].update(devices=len(self.devices), manifest_bytes=len(manifest))
        for name, data in (("manifest.ndjson", manifest), ("ca.pem", self.ca_pem),
                           ("run.json", json.dumps(self.run).encode() + b"\n"), ("burned.ndjson", b""),
                           ("journal", journal(self._one_commit(manifest, lengths)))):
            with open(f"{d}/{name}", "wb") as f:
                f.write(data)


def journal(records):
    """Each record chained to the one before by its hash, on a multiple of 512 octets."""
    out, chain = b"", bytes(32)
    for number, record in enumerate(records):
        body = b" " + json.dumps({"record": 0, **record, "record": number}, ensure_ascii=False, separators=(",", ":")).encode()
        body += b" " * (-(64 + len(body) + 1) % BLOCK) + b"\n"
        chain = hashlib.sha256(chain + body).digest()
        out += chain.hex().encode() + body
    return out


# ---- RSA keys of given primes ----

def rsa_numbers(p, q, e=E, d=None, **wrong):
    """n, e, d, p, q, dP, dQ, qInv; wrong: other values for some."""
    d = pow(e, -1, math.lcm(p - 1, q - 1)) if d is None else d
    key = {"n": p * q, "e": e, "d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qinv": pow(q, -1, p)}
    return {**key, **wrong}


def rsa_algorithm():
    return certmaker.seq(certmaker.oid("1.2.840.113549.1.1.1"), certmaker.tlv(5))


def rsa_pkcs8(key):
    inner = certmaker.seq(certmaker.integer(0), *(certmaker.integer(key[k]) for k in ("n", "e", "d", "p", "q", "dp", "dq", "qinv")))
    return certmaker.seq(certmaker.integer(0), rsa_algorithm(), certmaker.tlv(4, inner))


def rsa_spki(key):
    return certmaker.seq(rsa_algorithm(), certmaker.tlv(3, b"\0", certmaker.seq(certmaker.integer(key["n"]), certmaker.integer(key["e"]))))


def primes_of(pkcs8):
    key = elements(pkcs8)[2]
    numbers = elements(key, certmaker.body_at(key, 0)[0])
    return [int.from_bytes(n[certmaker.body_at(n, 0)[0]:], "big") for n in numbers[4:6]]
