"""Certificates exactly as told, also wrong ones: a DER writer of a few lines; keys and signatures by the openssl command.
Knows nothing of certmill, checks nothing."""

import base64
import hashlib
import os
import re
import subprocess
import tempfile

OIDS = {
    "CN": "2.5.4.3", "O": "2.5.4.10", "C": "2.5.4.6",
    "ski": "2.5.29.14", "keyUsage": "2.5.29.15", "san": "2.5.29.17", "basicConstraints": "2.5.29.19",
    "nameConstraints": "2.5.29.30", "aki": "2.5.29.35", "eku": "2.5.29.37",
    "serverAuth": "1.3.6.1.5.5.7.3.1", "clientAuth": "1.3.6.1.5.5.7.3.2", "codeSigning": "1.3.6.1.5.5.7.3.3",
}
# digest and key family -> signature algorithm and whether NULL parameters follow
SIGNATURES = {
    ("sha256", "EC"): ("1.2.840.10045.4.3.2", False), ("sha1", "EC"): ("1.2.840.10045.4.1", False),
    ("sha256", "RSA"): ("1.2.840.113549.1.1.11", True), ("sha1", "RSA"): ("1.2.840.113549.1.1.5", True),
    ("md5", "RSA"): ("1.2.840.113549.1.1.4", True), ("none", "ED25519"): ("1.3.101.112", False),
}


def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    if n < 128:
        return bytes((tag, n)) + body
    size = (n.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + n.to_bytes(size, "big") + body


def seq(*parts):
    return tlv(0x30, *parts)


def integer(value):
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def oid(text):
    arcs = [int(a) for a in OIDS.get(text, text).split(".")]
    out = b""
    for arc in [arcs[0] * 40 + arcs[1], *arcs[2:]]:
        seven = [arc & 127]
        while arc := arc >> 7:
            seven.append(arc & 127 | 128)
        out += bytes(reversed(seven))
    return tlv(6, out)


def name(*attributes):
    """name(("O", "Acme"), ("CN", "x")): UTF8String; a bytes value is a whole TLV."""
    return seq(*(tlv(0x31, seq(oid(kind), value if isinstance(value, bytes) else tlv(12, value.encode())))
                 for kind, value in attributes))


def when(text, form=None):
    """20491231235959Z as RFC 5280 wants it; form: 23 UTCTime, 24 GeneralizedTime whatever the year."""
    form = form or (23 if "1950" <= text[:4] < "2050" else 24)
    return tlv(form, (text[2:] if form == 23 else text).encode())


def ext(kind, value, critical=False):
    """critical: False (left out), True, or the BOOLEAN's octets."""
    mark = b"" if critical is False else critical if isinstance(critical, bytes) else tlv(1, b"\xff")
    return seq(oid(kind), mark, tlv(4, value))


def basic(ca=False, pathlen=None, critical=True):
    return ext("basicConstraints", seq(tlv(1, b"\xff") if ca else b"", b"" if pathlen is None else integer(pathlen)),
               critical)


def key_usage(octet, unused, critical=True):
    return ext("keyUsage", tlv(3, bytes((unused, octet))), critical)


def eku(*kinds, critical=False):
    return ext("eku", seq(*(oid(k) for k in kinds)), critical)


def pem(label, der):
    text = base64.b64encode(der).decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return f"-----BEGIN {label}-----\n" + "\n".join(lines) + f"\n-----END {label}-----\n"


def unpem(text):
    return [base64.b64decode(body) for body in
            re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.S)]


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, timeout=120, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def new_key(path, kind="P-256"):
    """Makes path; kind: P-256, P-384, secp256k1, RSA:bits, RSA:bits:exponent, Ed25519."""
    if kind.startswith("RSA:"):
        _, bits, *exponent = kind.split(":")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}",
                *(["-pkeyopt", f"rsa_keygen_pubexp:{exponent[0]}"] if exponent else []), "-out", path)
    elif kind == "Ed25519":
        openssl("genpkey", "-algorithm", "ed25519", "-out", path)
    else:
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}", "-out", path)
    os.chmod(path, 0o600)
    return path


def spki_of(key):
    return openssl("pkey", "-in", key, "-pubout", "-outform", "DER")


def family_of(spki):
    return "RSA" if b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" in spki[:32] else \
        "ED25519" if b"\x2b\x65\x70" in spki[:12] else "EC"


def body_at(der, at):
    """Start and end of the content of the TLV at `at`."""
    size, start = der[at + 1], at + 2
    if size & 128:
        start, size = start + (size & 127), int.from_bytes(der[start:start + (size & 127)], "big")
    return start, start + size


def key_id(spki):
    """Method 1 of RFC 5280 4.2.1.2: SHA-1 of the BIT STRING's content without its first octet."""
    start, _ = body_at(spki, body_at(spki, body_at(spki, 0)[0])[1])
    return hashlib.sha1(spki[start + 1:]).digest()


def sign(tbs, key, digest, family):
    with tempfile.NamedTemporaryFile() as f:
        f.write(tbs)
        f.flush()
        if family == "ED25519":
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", f.name)
        return openssl("dgst", f"-{digest}", "-sign", key, f.name)


def certificate(*, issuer, subject, spki, signing_key, not_before, not_after, extensions, serial=None, digest="sha256",
                algorithm=None):
    """DER. issuer, subject: name(); not_before, not_after: text or TLV; serial: number or INTEGER TLV;
    algorithm: an AlgorithmIdentifier TLV instead of the right one."""
    family = family_of(spki_of(signing_key))
    if algorithm is None:
        kind, null = SIGNATURES[("none" if family == "ED25519" else digest, family)]
        algorithm = seq(oid(kind), tlv(5) if null else b"")
    serial = 0x17 << 144 | int.from_bytes(os.urandom(18), "big") if serial is None else serial
    times = [when(t) if isinstance(t, str) else t for t in (not_before, not_after)]
    tbs = seq(tlv(0xa0, integer(2)), integer(serial) if isinstance(serial, int) else serial, algorithm, issuer,
              seq(*times), subject, spki, tlv(0xa3, seq(*extensions)) if extensions else b"")
    return seq(tbs, algorithm, tlv(3, b"\0", sign(tbs, signing_key, digest, family)))


def authority(directory, *, common_name="Test CA", kind="P-256", not_before="20240101000000Z",
              not_after="20490101000000Z", above=None, digest="sha256", constraints=None, usage=None, more=(), **change):
    """A CA in a new directory, like certmill's: ca.pem (with the chain of `above`, another such directory) and
    ca.key. constraints, usage: instead of the usual basicConstraints and keyUsage; b"": none. more: extensions
    behind the usual ones. Further keywords go to certificate()."""
    os.makedirs(directory)
    key = new_key(f"{directory}/ca.key", kind)
    spki = spki_of(key)
    subject = name(("O", "Certmill tests"), ("CN", common_name))
    issuer, signing_key, chain = subject, key, ""
    if above:
        with open(f"{above}/name.der", "rb") as f:
            issuer = f.read()
        signing_key = f"{above}/ca.key"
        with open(f"{above}/ca.pem", encoding="ascii") as f:
            chain = f.read()
    extensions = [basic(True) if constraints is None else constraints, key_usage(0x06, 1) if usage is None else usage,
                  ext("ski", tlv(4, key_id(spki))), ext("aki", seq(tlv(0x80, key_id(spki_of(signing_key))))), *more]
    der = certificate(**{"issuer": issuer, "subject": subject, "spki": spki, "signing_key": signing_key,
                         "not_before": not_before, "not_after": not_after, "extensions": extensions,
                         "digest": digest, **change})
    with open(f"{directory}/ca.pem", "w", encoding="ascii") as f:
        f.write(pem("CERTIFICATE", der) + chain)
    with open(f"{directory}/name.der", "wb") as f:
        f.write(subject)
    return directory
