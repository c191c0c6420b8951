"""What check_fleet.py knows about certificates and keys: a strict little DER reader, and libcrypto's and xxHash's own
functions through ctypes. Nothing of certmill's code is used, and no package beyond the two libraries is needed.

A thing that is not what it should be raises Bad, with a reason."""

import binascii
import ctypes
import hashlib

_c = ctypes.CDLL("libcrypto.so.3")
_P, _S, _B, _I = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int


class Bad(Exception):
    pass


def _bind(name, result, *args):
    f = getattr(_c, name)
    f.restype, f.argtypes = result, args
    return f


_group_new = _bind("EC_GROUP_new_by_curve_name", _P, _I)
_point_new = _bind("EC_POINT_new", _P, _P)
_point_mul = _bind("EC_POINT_mul", _I, _P, _P, _P, _P, _P, _P)
_point_oct = _bind("EC_POINT_point2oct", _S, _P, _P, _I, _B, _S, _P)
_bn_new = _bind("BN_new", _P)
_bn_bin = _bind("BN_bin2bn", _P, _B, _I, _P)
_raw_key = _bind("EVP_PKEY_new_raw_private_key", _P, _I, _P, _B, _S)
_raw_pub = _bind("EVP_PKEY_get_raw_public_key", _I, _P, _B, ctypes.POINTER(_S))
_pkey_free = _bind("EVP_PKEY_free", None, _P)
_d2i_pub = _bind("d2i_PUBKEY", _P, _P, ctypes.POINTER(_B), ctypes.c_long)
_md_new = _bind("EVP_MD_CTX_new", _P)
_md_reset = _bind("EVP_MD_CTX_reset", _I, _P)
_md_named = _bind("EVP_get_digestbyname", _P, _B)
_verify_init = _bind("EVP_DigestVerifyInit", _I, _P, ctypes.POINTER(_P), _P, _P, _P)
_verify = _bind("EVP_DigestVerify", _I, _P, _B, _S, _B, _S)
_set_padding = _bind("EVP_PKEY_CTX_set_rsa_padding", _I, _P, _I)
_set_salt = _bind("EVP_PKEY_CTX_set_rsa_pss_saltlen", _I, _P, _I)


# --- DER ---------------------------------------------------------------------------------------------------------

def tlv(data, at, tag=None):
    """(tag, where the contents begin, where they end); lengths as short as they can be."""
    if at + 2 > len(data):
        raise Bad("DER ends too early")
    found, length, at = data[at], data[at + 1], at + 2
    if tag is not None and found != tag:
        raise Bad(f"DER tag {found:#x}, not {tag:#x}")
    if length >= 0x80:
        n = length & 0x7f
        length = int.from_bytes(data[at:at + n], "big")
        at += n
        if n == 0 or n > 4 or length < 0x80 or length >> (8 * (n - 1)) == 0:
            raise Bad("DER length in a wrong form")
    if at + length > len(data):
        raise Bad("DER ends too early")
    return found, at, at + length


def children(data, begin, end):
    """[(tag, begin of the element, begin of its contents, its end)]"""
    found = []
    while begin < end:
        tag, inner, stop = tlv(data, begin)
        if stop > end:
            raise Bad("DER element longer than what holds it")
        found.append((tag, begin, inner, stop))
        begin = stop
    return found


def _sequence(data, at=0, end=None):
    _, inner, stop = tlv(data, at, 0x30)
    if end is not None and stop != end:
        raise Bad("DER with trailing octets")
    return children(data, inner, stop)


_OID = {bytes.fromhex(code): name for code, name in (
    ("06082a8648ce3d040302", ("ecdsa-with-SHA256", b"SHA256")), ("06082a8648ce3d040303", ("ecdsa-with-SHA384", b"SHA384")),
    ("06082a8648ce3d040304", ("ecdsa-with-SHA512", b"SHA512")),
    ("06092a864886f70d01010b", ("sha256WithRSAEncryption", b"SHA256")),
    ("06092a864886f70d01010c", ("sha384WithRSAEncryption", b"SHA384")),
    ("06092a864886f70d01010d", ("sha512WithRSAEncryption", b"SHA512")), ("06032b6570", ("Ed25519", None)))}
_PSS = bytes.fromhex("06092a864886f70d01010a")
_EC, _RSA, _ED = (bytes.fromhex(x) for x in ("06072a8648ce3d0201", "06092a864886f70d010101", "06032b6570"))
_CURVES = {bytes.fromhex(code): row for code, row in (
    ("06082a8648ce3d030107", ("P-256", 415)), ("06052b81040022", ("P-384", 715)), ("06052b81040023", ("P-521", 716)))}
_SKI = bytes.fromhex("0603551d0e")


class Certificate:
    """A certificate's fields, cut out of its DER. Serial is bytes; names, spki and tbs are DER."""

    def __init__(self, der):
        top = _sequence(der, 0, len(der))
        if [t for t, *_ in top] != [0x30, 0x30, 0x03]:
            raise Bad("no certificate")
        parts = children(der, top[0][2], top[0][3])
        if [t for t, *_ in parts] != [0xa0, 0x02, 0x30, 0x30, 0x30, 0x30, 0x30, 0xa3]:
            raise Bad("no version 3 certificate with extensions")
        whole = lambda p: der[p[1]:p[3]]
        self.der, self.tbs = der, whole(top[0])
        self.serial = der[parts[1][2]:parts[1][3]]
        self.algorithm = whole(top[1])
        if whole(parts[2]) != self.algorithm:
            raise Bad("two signature algorithms")
        self.issuer, self.subject, self.spki = whole(parts[3]), whole(parts[5]), whole(parts[6])
        self.not_before, self.not_after = (_time(der, p) for p in children(der, parts[4][2], parts[4][3]))
        if der[top[2][2]] != 0:
            raise Bad("a signature with unused bits")
        self.signature = der[top[2][2] + 1:top[2][3]]
        self.ski = self._find_ski(parts[7])
        self.certificate_id = hashlib.sha256(der).hexdigest()

    def _find_ski(self, part):
        for _, _, inner, end in _sequence(self.der, part[2], part[3]):
            ext = children(self.der, inner, end)
            if self.der[ext[0][1]:ext[0][3]] == _SKI:
                _, at, stop = tlv(self.der, ext[-1][2], 0x04)
                return self.der[at:stop].hex()
        return None

    def sig_alg(self):
        oid = self.algorithm[2:]
        if oid[:len(_PSS)] == _PSS:
            return f"RSASSA-PSS-SHA{ {32: 256, 48: 384, 64: 512}.get(self.algorithm[-1]) }"
        found = _OID.get(oid) or _OID.get(oid[:-2])
        return found[0] if found else None


_times = {}


def _time(der, part):
    """As RFC 3339. Few times occur in a fleet."""
    tag, text = part[0], der[part[2]:part[3]]
    found = _times.get((tag, text))
    if found is None:
        digits = text.decode("ascii")
        if tag == 0x17 and len(digits) == 13:
            digits = ("19" if digits[:2] >= "50" else "20") + digits
        elif tag != 0x18 or len(digits) != 15 or digits[:4] < "2050":
            raise Bad(f"time {text!r}")
        if digits[14] != "Z" or not digits[:14].isdigit():
            raise Bad(f"time {text!r}")
        d = digits
        found = _times[tag, text] = f"{d[:4]}-{d[4:6]}-{d[6:8]}T{d[8:10]}:{d[10:12]}:{d[12:14]}Z"
    return found


def spki_parts(spki):
    """(algorithm's OID, its parameters, public key's octets)"""
    alg, bits = _sequence(spki, 0, len(spki))
    kind = children(spki, alg[2], alg[3])
    return spki[kind[0][1]:kind[0][3]], spki[kind[0][3]:alg[3]], spki[bits[2] + 1:bits[3]]


def key_name(spki):
    oid, params, public = spki_parts(spki)
    if oid == _EC:
        return _CURVES.get(params, (None,))[0]
    if oid == _RSA:
        n = _sequence(public)[0]
        return f"RSA-{int.from_bytes(public[n[2]:n[3]], 'big').bit_length()}"
    return "Ed25519" if oid == _ED else None


# --- PEM ---------------------------------------------------------------------------------------------------------

def pem(label, der):
    """The one right form."""
    lines = b"".join(binascii.b2a_base64(der[i:i + 48]) for i in range(0, len(der), 48))
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, lines, label)


def unpem(text):
    """[(label, DER)] of PEM blocks with nothing between them."""
    found, at = [], 0
    while at < len(text):
        stop = text.find(b"-----\n", at + 11)
        if text[at:at + 11] != b"-----BEGIN " or stop < 0:
            raise Bad("text that is no PEM block")
        label = text[at + 11:stop]
        last = b"-----END %b-----\n" % label
        end = text.find(last, stop)
        if end < 0:
            raise Bad("a PEM block without an end")
        der = binascii.a2b_base64(text[stop + 6:end])
        end += len(last)
        if text[at:end] != pem(label, der):
            raise Bad("PEM in another form than 64 characters a line")
        found.append((label, der))
        at = end
    return found


def ders(data):
    """[DER] of DER after DER."""
    found, at = [], 0
    while at < len(data):
        end = tlv(data, at)[2]
        found.append(data[at:end])
        at = end
    return found


# --- keys --------------------------------------------------------------------------------------------------------

_groups = {}
_scalar = _bn_new()


def _ec_public(curve, scalar):
    """scalar * G, uncompressed, by libcrypto."""
    if curve not in _groups:
        group = _group_new(_CURVES[curve][1])
        _groups[curve] = group, _point_new(group)
    group, point = _groups[curve]
    out = ctypes.create_string_buffer(133)
    _bn_bin(scalar, len(scalar), _scalar)
    if _point_mul(group, point, _scalar, None, None, None) != 1:
        raise Bad("a scalar that makes no point")
    length = _point_oct(group, point, 4, out, 133, None)
    return out.raw[:length]


def _integer(data, part):
    if part[0] != 0x02:
        raise Bad("no INTEGER")
    return int.from_bytes(data[part[2]:part[3]], "big")


def _rsa_matches(der, public):
    numbers = [_integer(der, p) for p in _sequence(der, 0, len(der))]
    version, n, e, d, p, q, dp, dq, qi = numbers
    m, f = (_integer(public, x) for x in _sequence(public))
    return (version == 0 and (n, e) == (m, f) and p * q == n and 1 < p != q > 1 and e * d % (p - 1) == 1
            and e * d % (q - 1) == 1 and dp == d % (p - 1) and dq == d % (q - 1) and qi * q % p == 1)


def _sec1_matches(der, params, public, named):
    parts = _sequence(der, 0, len(der))
    if [t for t, *_ in parts] != ([2, 4, 0xa0, 0xa1] if named else [2, 4, 0xa1]):
        raise Bad("an EC key of another form")
    if named and der[parts[2][2]:parts[2][3]] != params:
        return False
    _, at, end = tlv(der, parts[-1][2], 0x03)
    return der[at + 1:end] == public and _ec_public(params, der[parts[1][2]:parts[1][3]]) == public


def _raw_matches(seed, public):
    key = _raw_key(1087, None, seed, len(seed))
    if not key:
        return False
    out, n = ctypes.create_string_buffer(32), _S(32)
    good = _raw_pub(key, out, ctypes.byref(n)) == 1 and out.raw == public
    _pkey_free(key)
    return good


def key_matches(label, der, spki):
    """Is the private key that of the public one? label: as PEM has it."""
    oid, params, public = spki_parts(spki)
    if label == b"EC PRIVATE KEY" and oid == _EC:
        return _sec1_matches(der, params, public, True)
    if label == b"RSA PRIVATE KEY" and oid == _RSA:
        return _rsa_matches(der, public)
    if label != b"PRIVATE KEY":
        return False
    parts = _sequence(der, 0, len(der))
    if [t for t, *_ in parts] != [2, 0x30, 4] or der[parts[0][2]:parts[0][3]] != b"\0":
        raise Bad("no PKCS#8 key of version 0")
    inner = der[parts[2][2]:parts[2][3]]
    if der[parts[1][2]:parts[1][3]] != oid + params:
        return False
    if oid == _EC:
        return _sec1_matches(inner, params, public, False)
    if oid == _RSA:
        return _rsa_matches(inner, public)
    return oid == _ED and _raw_matches(inner[2:], public)


# --- signatures and sums -----------------------------------------------------------------------------------------

_keys = {}
_ctx = _md_new()


def signed_by(cert, ca):
    """Is the certificate's signature the CA key's?"""
    if ca.spki not in _keys:
        start = _B(ca.spki)
        _keys[ca.spki] = _d2i_pub(None, ctypes.byref(start), len(ca.spki))
    name = cert.sig_alg() or ""
    pss = name.startswith("RSASSA-PSS-")
    digest = name[11:].encode() if pss else (_OID.get(cert.algorithm[2:]) or _OID.get(cert.algorithm[2:-2]) or (0, 0))[1]
    if not _keys[ca.spki] or digest == 0:
        return False
    pctx = _P()
    _md_reset(_ctx)
    md = _md_named(digest) if digest else None
    if _verify_init(_ctx, ctypes.byref(pctx), md, None, _keys[ca.spki]) != 1:
        return False
    if pss:
        _set_padding(pctx, 6)
        _set_salt(pctx, -1)
    return _verify(_ctx, cert.signature, len(cert.signature), cert.tbs, len(cert.tbs)) == 1


class _Xxh128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


try:
    _xxh = ctypes.CDLL("libxxhash.so.0")
    _xxh.XXH3_128bits.restype, _xxh.XXH3_128bits.argtypes = _Xxh128, [_B, _S]
    _xxh.XXH3_64bits.restype, _xxh.XXH3_64bits.argtypes = ctypes.c_uint64, [_B, _S]
except OSError:
    _xxh = None


def xxh128(data):
    """32 hex digits, or None without the library."""
    if _xxh is None:
        return None
    h = _xxh.XXH3_128bits(data, len(data))
    return f"{h.high:016x}{h.low:016x}"


def xxh64(data):
    return None if _xxh is None else _xxh.XXH3_64bits(data, len(data))
