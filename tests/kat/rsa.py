#!/usr/bin/env python3
"""Computes the RSA lines of keyalg.txt: p and q are the two least primes above 3*2^(bits/2-2) for which e = 65537
is a valid exponent; the key is encoded by RFC 8017 A.1.2 with Python's integers alone. Takes half a minute."""
import hashlib
from math import gcd

E = 65537
WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


def is_prime(n):
    if any(n % p == 0 for p in WITNESSES):
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for a in WITNESSES:
        x = pow(a, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def header(tag, length):
    if length < 128:
        return bytes([tag, length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(octets)]) + octets


def integer(n):
    octets = n.to_bytes(n.bit_length() // 8 + 1, "big")
    return header(2, len(octets)) + octets


def main():
    for bits in (2048, 3072, 4096):
        base, found, distance = 3 << (bits // 2 - 2), [], 1
        while len(found) < 2:
            if (base + distance - 1) % E and is_prime(base + distance):
                found.append(distance)
            distance += 2
        q, p = (base + distance for distance in found)
        d = pow(E, -1, (p - 1) * (q - 1) // gcd(p - 1, q - 1))
        body = b"".join(map(integer, (0, p * q, E, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))))
        der = header(0x30, len(body)) + body
        print(f"RSA-{bits} {found[1]},{found[0]} {hashlib.sha256(der).hexdigest()} -")


if __name__ == "__main__":
    main()
