#!/usr/bin/env python3
"""Judges certificates strictly, above all where openssl, GnuTLS, NSS and mbedTLS let things pass. Shares no code with
certmill: a small DER walk of its own, and Debian's python3-asn1crypto for what the fields mean.

    check_certs.py FLEET|FILE...       each finding on a line; exit code 1 when there are any. A FLEET is a directory
                                       that certmill wrote, a FILE a bundle: leaf first, then its issuers, PEM or DER
    check_certs.py --sample N FLEET    only so many bundles of a fleet
    check_certs.py                     the self-test: plants each fault in a certificate and must find it

As a library: check(leaf, issuer) -> [(code, text)]; check_bundle([leaf, issuer, ...])."""

import base64
import datetime
import hashlib
import json
import os
import re
import sys
import tarfile

import e2e_kit as kit

kit.asn1crypto()
from asn1crypto import core, keys, x509  # noqa: E402 pylint: disable=wrong-import-position

UTC = datetime.timezone.utc
CURVES = {"secp256r1": 65, "secp384r1": 97, "secp521r1": 133}
# RFC 5280 appendix A, in characters.
UPPER_BOUNDS = {"2.5.4.3": 64, "2.5.4.10": 64, "2.5.4.11": 64, "2.5.4.5": 64, "2.5.4.6": 2, "2.5.4.7": 128,
                "2.5.4.8": 128, "2.5.4.12": 64}
RSA_PKCS1 = {"1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13"}
RSA_PSS = "1.2.840.113549.1.1.10"
ECDSA = {"1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4"}
ED25519 = "1.3.101.112"
USAGES = {"ec": {"digital_signature", "non_repudiation", "key_agreement"},
          "rsa": {"digital_signature", "non_repudiation", "key_encipherment", "data_encipherment"},
          "ed25519": {"digital_signature", "non_repudiation"}}


class Malformed(Exception):
    """(code, text) of DER that can't be read further."""


# --- DER ---------------------------------------------------------------------------------------------------------

def take(data, at, end):
    """Tag, start and end of the content of the element at `at`; Malformed for what is not DER."""
    if end - at < 2:
        raise Malformed("der", f"cut off at {at}")
    tag, size, start = data[at], data[at + 1], at + 2
    if tag & 0x1f == 0x1f:
        raise Malformed("der", f"a tag of several octets at {at}")
    if size == 0x80:
        raise Malformed("der-length", f"an indefinite length at {at}")
    if size > 0x80:
        count = size & 0x7f
        if count > 4 or end - start < count:
            raise Malformed("der-length", f"a length of {count} octets at {at}")
        size = int.from_bytes(data[start:start + count], "big")
        if size < 0x80 or size >> 8 * (count - 1) == 0:
            raise Malformed("der-length", f"a length that is not the shortest at {at}")
        start += count
    if size > end - start:
        raise Malformed("der", f"an element that ends behind its frame at {at}")
    return tag, start, start + size


def children(data, start=0, end=None):
    """[(tag, content)] of the elements that fill data[start:end]."""
    at, end, found = start, len(data) if end is None else end, []
    while at < end:
        tag, first, at = take(data, at, end)
        found.append((tag, data[first:at]))
    return found


def elements(data):
    """The elements themselves, headers and all."""
    at, found = 0, []
    while at < len(data):
        _, _, end = take(data, at, len(data))
        found.append(data[at:end])
        at = end
    return found


def walk_time(tag, text):
    if not re.fullmatch(rb"\d{12}Z" if tag == 23 else rb"\d{14}Z", text):
        return [("time-form", f"time {text!r}")]
    if tag == 24 and text[:4] < b"2050":
        return [("generalized-before-2050", f"GeneralizedTime {text.decode()}")]
    try:
        time_of(tag, text)
    except ValueError:
        return [("time-form", f"no such time: {text!r}")]
    return []


def time_of(tag, text):
    year = int(text[:2]) + (1900 if text[:2] >= b"50" else 2000) if tag == 23 else int(text[:4])
    rest = text[2:] if tag == 23 else text[4:]
    return datetime.datetime(year, *(int(rest[i:i + 2]) for i in range(0, 10, 2)), tzinfo=UTC)


def walk_bits(content):
    if not content or content[0] > 7 or (len(content) == 1 and content[0]):
        return [("bit-string", "a BIT STRING with a wrong number of unused bits")]
    if content[0] and content[-1] & (1 << content[0]) - 1:
        return [("bit-string", "unused bits of a BIT STRING are set")]
    return []


def walk_oid(content):
    arcs = re.findall(rb"[\x80-\xff]*[\x00-\x7f]", content)
    if b"".join(arcs) != content or not content or any(a[0] == 0x80 for a in arcs):
        return [("oid", f"an OBJECT IDENTIFIER that is none: {content.hex()}")]
    return []


def walk_text(tag, content):
    alphabet = {0x13: rb"[A-Za-z0-9 '()+,\-./:=?]*", 0x16: rb"[\x00-\x7f]*", 0x12: rb"[0-9 ]*"}.get(tag)
    found = []
    if alphabet and not re.fullmatch(alphabet, content):
        found.append(("alphabet", f"{content!r} in a string of type {tag}"))
    if tag == 0x0c:
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            found.append(("alphabet", f"{content!r} is not UTF-8"))
    if tag == 0x1e:
        content = content.decode("utf-16-be", "replace").encode()
    if re.search(rb"[\x00-\x1f\x7f]", content):
        found.append(("control-in-name", f"a control character in {content!r}"))
    return found


def walk_one(tag, content):
    if tag == 1:
        return [] if content in (b"\0", b"\xff") else [("boolean", f"BOOLEAN {content.hex()}")]
    if tag in (2, 10):
        if not content or (len(content) > 1 and (content[0], content[1] >> 7) in ((0, 0), (0xff, 1))):
            return [("integer-not-minimal", f"INTEGER {content.hex()}")]
        return []
    if tag == 3:
        return walk_bits(content)
    if tag == 5:
        return [("null", "a NULL with content")] if content else []
    if tag == 6:
        return walk_oid(content)
    if tag in (23, 24):
        return walk_time(tag, content)
    if tag in (0x0c, 0x12, 0x13, 0x14, 0x16, 0x1a, 0x1c, 0x1e):
        return walk_text(tag, content)
    return []


def walk(data):
    """Everything that is not DER, at whatever depth; strings inside OCTET STRINGs are their readers' business."""
    found = []
    for tag, content in children(data):
        if tag in (0x10, 0x11):
            found.append(("der", "a SEQUENCE or SET that is not constructed"))
        if tag & 0x20:
            if tag == 0x31:
                parts = elements(content)
                if parts != sorted(parts):
                    found.append(("set-order", "a SET OF that is not sorted"))
            found += walk(content)
        else:
            found += walk_one(tag, content)
    return found


# --- fields ------------------------------------------------------------------------------------------------------

def check_serial(content):
    found = []
    if content == b"\0":
        found.append(("serial-zero", "serial number 0"))
    elif content[0] & 0x80:
        found.append(("serial-negative", f"serial number {content.hex()} is negative"))
    if len(content) > 20:
        found.append(("serial-long", f"serial number of {len(content)} octets"))
    return found


def check_algorithm(encoded):
    """An AlgorithmIdentifier of a signature, octet for octet."""
    parts = children(children(encoded)[0][1])
    oid = core.ObjectIdentifier(contents=parts[0][1]).dotted
    rest = parts[1:]
    if oid in RSA_PKCS1:
        return [] if rest == [(5, b"")] else [("signature-parameters", f"{oid} without NULL parameters")]
    if oid in ECDSA or oid == ED25519:
        return [] if not rest else [("signature-parameters", f"{oid} with parameters")]
    if oid == RSA_PSS:
        return check_pss(rest)
    return [("signature-algorithm", f"signed with {oid}")]


def check_pss(rest):
    try:
        hash_part, mask_part, salt_part = children(rest[0][1])
        digest = children(children(hash_part[1])[0][1])[0][1]
        mask = children(children(mask_part[1])[0][1])
        mask_digest = children(mask[1][1])[0][1]
        salt = int.from_bytes(children(salt_part[1])[0][1], "big")
    except (IndexError, ValueError):
        return [("signature-parameters", "RSASSA-PSS without its three parameters")]
    length = {1: 32, 2: 48, 3: 64}.get(digest[-1] if digest[:-1] == b"\x60\x86\x48\x01\x65\x03\x04\x02" else 0)
    if length is None:
        return [("signature-algorithm", "RSASSA-PSS with a digest that is not SHA-2")]
    good = digest == mask_digest and salt == length and mask[0][1] == b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"
    return [] if good else [("signature-parameters", "RSASSA-PSS: digest, mask and salt don't go together")]


def check_name(encoded, what):
    found, seen = [], 0
    for tag, rdn in children(children(encoded)[0][1]):
        if tag != 0x31 or not rdn:
            found.append(("name", f"{what}: an empty or wrong RDN"))
        for _, attribute in children(rdn):
            (_, oid), (kind, value) = children(attribute)
            seen += 1
            dotted = core.ObjectIdentifier(contents=oid).dotted
            if b"\0" in value and kind != 0x1e:
                found.append(("nul-in-name", f"{what}: NUL in {value!r}"))
            length = len(value.decode("utf-8", "replace")) if kind != 0x1e else len(value) // 2
            if not length:
                found.append(("name", f"{what}: {dotted} is empty"))
            if length > UPPER_BOUNDS.get(dotted, 32768):
                found.append(("name-long", f"{what}: {dotted} of {length} characters"))
            if dotted == "2.5.4.6" and kind != 0x13:
                found.append(("name", f"{what}: a country that is no PrintableString"))
    return found, seen


def check_key(encoded):
    """Findings and family of a SubjectPublicKeyInfo."""
    algorithm, bits = children(children(encoded)[0][1])
    oid, *parameters = children(algorithm[1])
    dotted = core.ObjectIdentifier(contents=oid[1]).dotted
    key = bits[1][1:]
    if dotted == "1.2.840.113549.1.1.1":
        found = [] if parameters == [(5, b"")] else [("rsa-parameters", "an RSA key without NULL parameters")]
        parsed = keys.RSAPublicKey.load(key, strict=True).native
        modulus, exponent = parsed["modulus"], parsed["public_exponent"]
        if exponent < 65537 or exponent % 2 == 0 or exponent >> 256:
            found.append(("rsa-exponent", f"RSA exponent {exponent}"))
        if modulus.bit_length() not in (2048, 3072, 4096) or modulus % 2 == 0:
            found.append(("rsa-modulus", f"RSA modulus of {modulus.bit_length()} bits"))
        return found + walk(key), "rsa"
    if dotted == "1.2.840.10045.2.1":
        if len(parameters) != 1 or parameters[0][0] != 6:
            return [("ec-curve", "an EC key whose curve is not named")], "ec"
        curve = core.ObjectIdentifier(contents=parameters[0][1]).dotted
        name = keys.NamedCurve.map(curve) if curve in keys.NamedCurve._map else curve
        if name not in CURVES:
            return [("ec-curve", f"an EC key on {name}")], "ec"
        if key[:1] != b"\x04" or len(key) != CURVES[name]:
            return [("ec-point", f"an EC point of {len(key)} octets, first {key[:1].hex()}")], "ec"
        return [], "ec"
    if dotted == ED25519:
        good = not parameters and len(key) == 32
        return [] if good else [("ed25519-key", "an Ed25519 key with parameters, or of a wrong length")], "ed25519"
    return [("key-algorithm", f"a public key of type {dotted}")], "?"


def read_extensions(encoded):
    """[(oid, critical, value)] and findings."""
    found, out = [], []
    for tag, extension in children(children(encoded)[0][1]):
        parts = children(extension)
        if tag != 0x30 or [p[0] for p in parts] not in ([6, 4], [6, 1, 4]):
            raise Malformed("extension", "an Extension of a wrong form")
        oid = core.ObjectIdentifier(contents=parts[0][1]).dotted
        if len(parts) == 3 and parts[1][1] != b"\xff":
            found.append(("default-false", f"{oid}: critical FALSE spelled out"))
        if any(oid == o for o, _, _ in out):
            found.append(("extension-twice", f"{oid} stands there twice"))
        out.append((oid, len(parts) == 3, parts[-1][1]))
    if not out:
        found.append(("extension", "an empty list of extensions"))
    return out, found


def check_basic(value, critical, is_ca):
    parts = children(children(value)[0][1])
    found = [] if critical else [("basic-critical", "basicConstraints not critical")]
    if parts and parts[0] == (1, b"\0"):
        found.append(("default-false", "basicConstraints: cA FALSE spelled out"))
    if (bool(parts) and parts[0] == (1, b"\xff")) != is_ca:
        found.append(("basic-ca", "basicConstraints: a CA where none belongs, or none where one does"))
    if not is_ca and any(tag == 2 for tag, _ in parts):
        found.append(("basic-ca", "basicConstraints: a path length without cA"))
    return found


def check_usage(value, critical, family, is_ca):
    tag, bits = children(value)[0]
    found = [] if critical else [("usage-critical", "keyUsage not critical")]
    if tag != 3 or len(bits) < 2 or not bits[-1] or not bits[-1] >> bits[0] & 1:
        found.append(("usage-trailing-zeros", f"keyUsage {bits.hex()} has trailing zero bits (X.690 11.2.2)"))
    usages = set(x509.KeyUsage.load(value).native)
    if is_ca and "key_cert_sign" not in usages:
        found.append(("usage", "a CA without keyCertSign"))
    if not is_ca and (not usages <= USAGES.get(family, usages) or "digital_signature" not in usages):
        found.append(("usage", f"keyUsage {sorted(usages)} with a key of type {family}"))
    return found


def check_extensions(extensions, family, key_bits, issuer_ski, is_ca):
    found = []
    by_oid = {oid: (critical, value) for oid, critical, value in extensions}
    for oid, _, value in extensions:
        found += [(code, f"{oid}: {text}") for code, text in walk(value)]
    for oid in ("2.5.29.19", "2.5.29.15", "2.5.29.14", "2.5.29.35"):
        if oid not in by_oid and not (is_ca and oid == "2.5.29.35"):
            found.append(("extension-missing", f"no {oid}"))
    if "2.5.29.19" in by_oid:
        critical, value = by_oid["2.5.29.19"]
        found += check_basic(value, critical, is_ca)
    if "2.5.29.15" in by_oid:
        critical, value = by_oid["2.5.29.15"]
        found += check_usage(value, critical, family, is_ca)
    if "2.5.29.14" in by_oid:
        critical, value = by_oid["2.5.29.14"]
        if critical:
            found.append(("ski", "subjectKeyIdentifier critical"))
        if not is_ca and children(value) != [(4, hashlib.sha1(key_bits).digest())]:
            found.append(("ski", "subjectKeyIdentifier is not the SHA-1 of the key"))
    if "2.5.29.35" in by_oid:
        critical, value = by_oid["2.5.29.35"]
        parts = children(children(value)[0][1])
        if critical or not parts or parts[0][0] != 0x80:
            found.append(("aki", "authorityKeyIdentifier critical, or without a key identifier"))
        elif issuer_ski is not None and parts[0][1] != issuer_ski:
            found.append(("aki-mismatch", f"authorityKeyIdentifier {parts[0][1].hex()}, issuer's {issuer_ski.hex()}"))
    if not is_ca:
        purposes = x509.ExtKeyUsageSyntax.load(by_oid["2.5.29.37"][1]).native if "2.5.29.37" in by_oid else []
        if "client_auth" not in purposes:
            found.append(("purpose", f"extendedKeyUsage {purposes} without clientAuth"))
    return found


class Fields:
    """The parts of a certificate as encoded. Malformed when they aren't there."""

    def __init__(self, der):
        if len(elements(der)) != 1:
            raise Malformed("der", "more than one element")
        parts = elements(children(der)[0][1])
        if len(parts) != 3:
            raise Malformed("der", "a Certificate has three parts")
        self.tbs, self.algorithm = parts[0], parts[1]
        inside = elements(children(self.tbs)[0][1])
        if inside[0] != b"\xa0\x03\x02\x01\x02":
            raise Malformed("version", "not v3")
        if not 7 <= len(inside) <= 8 or (len(inside) == 8 and inside[7][0] != 0xa3):
            raise Malformed("tbs", "no extensions, or more behind the public key than extensions")
        self.serial = children(inside[1])[0][1]
        self.inner_algorithm, self.issuer, self.validity, self.subject, self.spki = inside[2:7]
        self.times = children(children(self.validity)[0][1])
        self.not_before, self.not_after = (time_of(*t) for t in self.times)
        self.extensions, self.extension_findings = \
            read_extensions(children(inside[7])[0][1]) if len(inside) == 8 else ([], [])

    def ski(self):
        for oid, _, value in self.extensions:
            if oid == "2.5.29.14":
                return children(value)[0][1]
        return None


def check(leaf, issuer=None, is_ca=False):
    """[(code, text)] of what is wrong with the DER certificate; issuer: its issuer's DER, or None."""
    found = []
    try:
        found += walk(leaf)
        fields = Fields(leaf)
        above = Fields(issuer) if issuer is not None else None
        family_findings, family = check_key(fields.spki)
        found += check_serial(fields.serial) + family_findings + fields.extension_findings
        found += check_algorithm(fields.algorithm)
        if fields.algorithm != fields.inner_algorithm:
            found.append(("signature-algorithm", "the two signature algorithms differ"))
        findings, attributes = check_name(fields.subject, "subject")
        found += findings + check_name(fields.issuer, "issuer")[0]
        if not attributes and not any(o == "2.5.29.17" and critical for o, critical, _ in fields.extensions):
            found.append(("name", "an empty subject without a critical subjectAltName"))
        if fields.not_after < fields.not_before:
            found.append(("utctime-after-2049" if fields.times[1][0] == 23 and fields.times[1][1][:2] >= b"50"
                          else "validity", f"ends {fields.not_after}, before it begins"))
        if above is not None:
            found += check_below(fields, above)
        found += check_extensions(fields.extensions, family, children(children(fields.spki)[0][1])[1][1][1:],
                                  above.ski() if above is not None else None, is_ca)
        found += check_other_reader(leaf)
    except Malformed as e:
        return [*found, e.args]
    except (ValueError, TypeError, IndexError) as e:
        return [*found, ("unreadable", str(e).split("\n", 1)[0])]
    return found


def check_other_reader(leaf):
    """asn1crypto must be able to read all of it. On octets that are no certificate it raises whatever its tables
    raise (a KeyError for an unknown key algorithm, for instance), so anything that it raises is its refusal."""
    try:
        x509.Certificate.load(leaf, strict=True).native  # pylint: disable=expression-not-assigned
    except Exception as e:  # pylint: disable=broad-exception-caught
        return [("unreadable", f"{type(e).__name__}: {e}".split("\n", 1)[0])]
    return []


def check_below(fields, above):
    found = []
    if fields.issuer != above.subject:
        found.append(("issuer", "the issuer's name is not the CA's subject, octet for octet"))
    if fields.not_after > above.not_after:
        found.append(("outlives-issuer", f"ends {fields.not_after}, its issuer {above.not_after}"))
    if fields.not_before < above.not_before:
        found.append(("predates-issuer", f"begins {fields.not_before}, its issuer {above.not_before}"))
    return found


def check_bundle(ders):
    found = []
    for i, der in enumerate(ders):
        issuer = ders[i + 1] if i + 1 < len(ders) else der if i else None
        found += [(code, f"certificate {i + 1}: {text}") for code, text in check(der, issuer, is_ca=i > 0)]
    return found


# --- files and fleets --------------------------------------------------------------------------------------------

def split(data):
    """The certificates of a bundle, PEM or DER."""
    if data[:1] == b"\x30":
        return elements(data)
    return [base64.b64decode(b, validate=True) for b in
            re.findall(rb"-----BEGIN CERTIFICATE-----\n(.*?)\n-----END CERTIFICATE-----",
                       data.replace(b"\r", b""), re.S) for b in [b.replace(b"\n", b"")]]


def bundles(fleet):
    """(id's file name, bundle) of every device, whatever the layout."""
    for base, dirs, files in os.walk(f"{fleet}/chains"):
        dirs.sort()
        for name in sorted(files):
            path = os.path.join(base, name)
            if name.endswith(".tar"):
                with tarfile.open(path) as tar:
                    for member in tar:
                        yield member.name, tar.extractfile(member).read()
            elif name.endswith(".crt"):
                with open(path, "rb") as f:
                    yield name, f.read()


def judge(path, sample=0):
    """Findings of a fleet or a file, each with the bundle's name."""
    if not os.path.isdir(path):
        with open(path, "rb") as f:
            return [(path, *finding) for finding in check_bundle(split(f.read()))], 1
    with open(f"{path}/run.json", encoding="utf-8") as f:
        outcome = json.load(f).get("outcome") or {}
    every = max(1, outcome.get("devices", 0) // sample) if sample else 1
    found, count = [], 0
    for i, (name, data) in enumerate(bundles(path)):
        if i % every == 0:
            count += 1
            found += [(name, *finding) for finding in check_bundle(split(data))]
    return found, count


# --- the self-test -----------------------------------------------------------------------------------------------

def self_test():
    import certmaker as cert  # pylint: disable=import-outside-toplevel
    tlv, seq = cert.tlv, cert.seq
    cert.authority("ca", not_before="20240101000000Z", not_after="20551231235959Z")
    with open("ca/ca.pem", encoding="ascii") as f:
        ca = cert.unpem(f.read())[0]
    with open("ca/name.der", "rb") as f:
        issuer = f.read()
    ca_id = cert.key_id(cert.spki_of("ca/ca.key"))
    spki = {kind: cert.spki_of(cert.new_key(f"{kind.replace(':', '-')}.key", kind))
            for kind in ("P-256", "Ed25519", "RSA:2048", "RSA:2048:3", "RSA:1024", "secp256k1")}

    def made(key="P-256", usage=None, replaced=None, more=(), **change):
        public = change.pop("spki", spki[key])
        rsa = key.startswith("RSA")
        exts = {"basic": cert.basic(False),
                "usage": cert.key_usage(0xa0, 5) if rsa else cert.key_usage(0x80, 7),
                "eku": cert.eku("clientAuth"), "ski": cert.ext("ski", tlv(4, cert.key_id(public))),
                "aki": cert.ext("aki", seq(tlv(0x80, ca_id)))}
        if usage:
            exts["usage"] = usage
        exts.update(replaced or {})
        return cert.certificate(**{"issuer": issuer, "subject": cert.name(("O", "Acme"), ("CN", "SN1")),
                                   "spki": public, "signing_key": "ca/ca.key", "not_before": "20240101000000Z",
                                   "not_after": "20491231235959Z", "extensions": [*exts.values(), *more], **change})

    def explicit_curve():
        der = cert.openssl("ec", "-in", "P-256.key", "-pubout", "-outform", "DER", "-param_enc", "explicit")
        return made(spki=der)

    def patched(old, new, der=None):
        der = made() if der is None else der
        assert der.count(old) == 1 and len(old) == len(new), (old.hex(), der.count(old))
        return der.replace(old, new)

    def outer_sha384(der):
        ecdsa = cert.oid("1.2.840.10045.4.3.2")
        at = der.rindex(ecdsa)
        return der[:at] + cert.oid("1.2.840.10045.4.3.3") + der[at + len(ecdsa):]

    rsa = spki["RSA:2048"]
    null = bytes.fromhex("300d06092a864886f70d0101010500")
    without_null = seq(bytes.fromhex("300b06092a864886f70d010101") + rsa[rsa.index(null) + len(null):])
    ecdsa_null = seq(cert.oid("1.2.840.10045.4.3.2"), tlv(5))
    sound = {"P-256": made(), "Ed25519": made("Ed25519"), "RSA": made("RSA:2048"),
             "not after 2050": made(not_after="20500101000000Z"), "not after 2049": made(not_after="20491231235959Z"),
             "CN of 64": made(subject=cert.name(("CN", "ä" * 64))), "the CA": None,
             "20 octets": made(serial=0x7f << 152), "1": made(serial=1)}
    planted = {
        "outlives-issuer": made(not_after="20560101000000Z"),
        "predates-issuer": made(not_before="20231231235959Z"),
        "serial-zero": made(serial=0),
        "serial-negative": made(serial=-5),
        "serial-long": made(serial=0x80 << 152),  # with its leading zero 21 octets
        "integer-not-minimal": made(serial=tlv(2, b"\0\x12\x34")),
        "name-long": made(subject=cert.name(("CN", "x" * 65))),
        "default-false": made(replaced={"eku": cert.eku("clientAuth", critical=tlv(1, b"\0"))}),
        "generalized-before-2050": made(not_after=cert.when("20491231235959Z", 24)),
        "utctime-after-2049": made(not_after=cert.when("20500101000000Z", 23)),
        "rsa-exponent": made("RSA:2048:3"),
        "nul-in-name": made(subject=cert.name(("CN", "SN1\0.example.com"))),
        "usage-trailing-zeros": made(usage=cert.key_usage(0x80, 0)),
        "extension-twice": made(more=[cert.eku("clientAuth")]),
        "aki-mismatch": made(replaced={"aki": cert.ext("aki", seq(tlv(0x80, b"x" * 20)))}),
        "usage": made(usage=cert.key_usage(0xa0, 5)),
        "ec-curve": explicit_curve(),
        "rsa-parameters": made("RSA:2048", spki=without_null),
        "rsa-modulus": made("RSA:1024"),
        "signature-parameters": made(algorithm=ecdsa_null),
        "signature-algorithm": made(digest="sha1"),
        "issuer": made(issuer=cert.name(("O", "Certmill tests"), ("CN", "Test CA "))),
        "ski": made(replaced={"ski": cert.ext("ski", tlv(4, b"y" * 20))}),
        "basic-ca": made(replaced={"basic": cert.basic(True)}),
        "basic-critical": made(replaced={"basic": cert.basic(False, critical=False)}),
        "usage-critical": made(usage=cert.key_usage(0x80, 7, False)),
        "purpose": made(replaced={"eku": cert.eku("serverAuth")}),
        "extension-missing": made(replaced={"ski": b""}),
        "control-in-name": made(subject=cert.name(("CN", "SN\x1b[1m"))),
        "alphabet": made(subject=cert.name(("CN", tlv(0x13, b"SN_1*")))),
        "name": made(subject=cert.name()),
        "boolean": patched(bytes.fromhex("0603551d130101ff"), bytes.fromhex("0603551d13010101")),
        "bit-string": made(usage=cert.ext("keyUsage", tlv(3, b"\x07\x81"), True)),
        "time-form": made(not_before=tlv(23, b"2401010000Z")),
        "der-length": made(serial=b"\x02\x81\x01\x05"),
        "der": made() + b"\0",
        "version": patched(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01"),
        "set-order": made(subject=seq(tlv(0x31, seq(cert.oid("O"), tlv(12, b"b")), seq(cert.oid("CN"), tlv(12, b"a"))))),
    }
    second = {
        "default-false": made(replaced={"basic": cert.ext("basicConstraints", seq(tlv(1, b"\0")), True)}),
        "ec-curve": made("secp256k1"),
        "usage": made("Ed25519", usage=cert.key_usage(0x08 | 0x80, 3)),
        "validity": made(not_after="20231231000000Z"),
        "signature-algorithm": outer_sha384(made()),
    }
    for what, der in sound.items():
        found = check(ca, ca, is_ca=True) if der is None else check(der, ca)
        kit.check(not found, "a sound certificate:", what, found)
    for code, der in [*planted.items(), *second.items()]:
        found = check(der, ca)
        kit.check(any(c == code for c, _ in found), f"{code} was planted, this was found:", found)
    # What is planted once should not set off half of the other checks.
    for code, der in planted.items():
        codes = {c for c, _ in check(der, ca)}
        kit.check(len(codes) <= 3, f"{code} sets off", sorted(codes))
    # The reader survives anything: cut off and flipped at random.
    whole = made()
    for _ in range(500):
        der = bytearray(whole)
        for _ in range(kit.rng.randint(1, 3)):
            der[kit.rng.randrange(len(der))] ^= 1 << kit.rng.randrange(8)
        check(bytes(der[:kit.rng.randint(1, len(der))]), ca)
    kit.check(True)


def main(argv):
    sample = 0
    if argv[:1] == ["--sample"]:
        sample, argv = int(argv[1]), argv[2:]
    if argv:
        total = seen = 0
        for path in argv:
            found, count = judge(path, sample)
            seen += count
            total += len(found)
            for name, code, text in found:
                print(f"{path}: {name}: {code}: {text}")
        print(f"{seen} bundles, {total} findings")
        return 1 if total or not seen else 0
    kit.CERTMILL = kit.CERTMILL or "unused"
    kit.enter_place("certs")
    self_test()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
