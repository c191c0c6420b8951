#!/usr/bin/env python3
"""Goal: the constants and the bounds that engine/ec_vec.h relies on are right. Method: the constants of each curve are read
out of its source and computed again from SP 800-186; the operations are followed with intervals, limb by limb, from the
table's entries and products to sums, differences and products of these, until nothing new arises. Then wrong copies of all
of it (a constant changed in one bit, a shift in FOLD, a fold that does not leave one p) must be refused."""
import os
import re
import sys
from fractions import Fraction

sys.dont_write_bytecode = True
ENGINE = os.path.join(os.environ.get("CM_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), "engine")
PRIME = {"p256": 2**256 - 2**224 + 2**192 + 2**96 - 1, "p384": 2**384 - 2**128 - 2**96 + 2**32 - 1, "p521": 2**521 - 1}
LIMB = 2**52


class Wrong(Exception):
    pass


def demand(holds, what):
    if not holds:
        raise Wrong(what)


# --- constants -----------------------------------------------------------------------------------------------------

class Curve:
    """What the source says."""

    def __init__(self, text):
        self.bits, self.limbs, self.quotient = (int(self.macro(text, n), 0) for n in ("CURVE_BITS", "LIMBS", "QUOTIENT"))
        self.p, self.p_plus_one, self.rr = (self.array(text, n) for n in ("fe_p", "fe_p_plus_one", "fe_rr"))
        # FOLD as what it does to limb i: -p's share of it, for each q.
        self.fold = [0] * self.limbs
        for i, sign, shift in re.findall(r"r\[(\d+)\] = v_(add|sub)\(r\[\1\], (?:q|v_shl\(q, (\d+)\))\);", text):
            self.fold[int(i)] += (1 if sign == "add" else -1) << int(shift or 0)
        self.top = self.bits - 52 * (self.limbs - 1)
        self.spare = 1  # how many p fold leaves

    @staticmethod
    def macro(text, name):
        return re.search(rf"#define {name} (\S+)", text).group(1)

    @staticmethod
    def array(text, name):
        return [int(x, 0) for x in re.search(rf"{name}\[LIMBS\] = {{([^}}]*)}}", text).group(1).split(",")]


def value(limbs):
    return sum(x * LIMB**i for i, x in enumerate(limbs))


def check_constants(c, p):
    r = LIMB**c.limbs
    demand(c.bits == p.bit_length() and 52 * (c.limbs - 1) < c.bits < 52 * c.limbs, "sizes")
    for name in ("p", "p_plus_one", "rr"):
        demand(len(getattr(c, name)) == c.limbs and all(0 <= x < LIMB for x in getattr(c, name)), f"limbs of {name}")
    demand(value(c.p) == p, "fe_p")
    demand(value(c.p_plus_one) == p + 1, "fe_p_plus_one")
    demand(value(c.rr) == r * r % p, "fe_rr")
    demand(c.quotient == -pow(p, -1, LIMB) % LIMB, "QUOTIENT")
    demand(value(c.fold) == -p, "FOLD takes q * p")
    if c.quotient == 1:  # products by shifts: limbs are 0, a power of two or a difference of two
        for x in c.p_plus_one:
            off = 0 if x & (x - 1) == 0 else x & -x
            demand((x + off) & (x + off - 1) == 0, "a limb of p + 1 is no difference of powers")
            # A column owes a low part, a high one of the step before, and what it lends; 2^52 are lent to it.
            demand(off == 0 or (LIMB - off) + (off - 1) + 1 <= LIMB, "a column owes more than it is lent")


# --- bounds --------------------------------------------------------------------------------------------------------

class Range:
    """Limbs and value of a number, each between two bounds, which are taken."""

    def __init__(self, limbs, least, most):
        self.limbs, self.least, self.most = limbs, least, most

    def joined(self, other):
        return Range([(min(a, c), max(b, d)) for (a, b), (c, d) in zip(self.limbs, other.limbs)],
                     min(self.least, other.least), max(self.most, other.most))

    def key(self):
        return (tuple(self.limbs), self.least, self.most)


def normal(c, least, most):
    """Limbs below 2^52, the last one takes the rest."""
    unit = LIMB**(c.limbs - 1)
    return Range([(0, LIMB - 1)] * (c.limbs - 1) + [(least // unit, most // unit)], least, most)


def minus(a, b):
    return Range([(x - w, y - v) for (x, y), (v, w) in zip(a.limbs, b.limbs)], a.least - b.most, a.most - b.least)


def plus(a, b):
    return Range([(x + v, y + w) for (x, y), (v, w) in zip(a.limbs, b.limbs)], a.least + b.least, a.most + b.most)


def fold(c, p, a):
    """The range of fold()'s result. q is (last limb >> TOP) - 1."""
    unit = LIMB**(c.limbs - 1)
    lower = [sum(limb[side] * LIMB**i for i, limb in enumerate(a.limbs[:-1])) for side in (0, 1)]
    h = [x >> c.top for x in a.limbs[-1]]
    # a = h * 2^bits + rest + lower with 0 <= rest < 2^TOP units; a - (h - spare) p:
    ends = [n * (2**c.bits - p) + c.spare * p for n in h]
    least, most = min(ends) + lower[0], max(ends) + (2**c.top - 1) * unit + lower[1]
    demand(least > 0, "a folded number may be negative")
    # Nothing runs over on the way: limb, its share of q * p, the carry from below.
    q = max(abs(n - c.spare) for n in h)
    carry = 0
    for (x, y), share in zip(a.limbs, c.fold):
        reach = max(abs(x), abs(y)) + q * abs(share) + carry
        demand(reach < 2**63, "a limb runs over in fold")
        carry = reach // LIMB + 1
    return normal(c, least, most)


def product(c, p, a, b):
    """The range of fe_mul's result, for operands whose limbs the multiply-adds take whole."""
    for x in (a, b):
        demand(x.least >= 0 and all(0 <= limb[0] and limb[1] < LIMB for limb in x.limbs), "an operand's limb is cut off")
    # A column: LIMBS low and LIMBS high parts of the product, as many of the quotient's, what is lent, and a carry.
    demand((4 * c.limbs + 1) * LIMB + 2**12 < 2**64, "a column runs over")
    r = LIMB**c.limbs
    return normal(c, 0, (a.most * b.most + (r - 1) * p) // r)


def closure(c, p):
    """An element, and an entry's y, whatever operations they come from."""
    plain = normal(c, 0, 2**c.bits - 1)  # numbers from outside, before they enter
    entered = product(c, p, plain, normal(c, p - 1, p - 1))
    entry = entered.joined(minus(Range([(x, x) for x in c.p], p, p), entered))  # find(): y, or p - y limb by limb
    zero = Range([(0, 0)] * c.limbs, 0, 0)
    element = entered
    while True:
        before = element.key()
        element = element.joined(product(c, p, element, element))
        element = element.joined(fold(c, p, plus(element, element)))
        for a in (element, entry, zero):
            for b in (element, entry):
                element = element.joined(fold(c, p, minus(a, b)))
        if element.key() == before:
            return element


def check_bounds(c, p):
    element = closure(c, p)
    r = LIMB**c.limbs
    demand(element.most < Fraction(26, 10) * p, "an element reaches 2.6 p")
    # leave(): (a + q p) / R with q < R
    demand((element.most + (r - 1) * p) // r <= p, "leave gives more than p")
    return element.most / p, product(c, p, element, element).most / p


# --- the wrong ones ------------------------------------------------------------------------------------------------

def refused(text, p, change):
    c = Curve(text)
    change(c)
    try:
        check_constants(c, p)
        check_bounds(c, p)
    except Wrong:
        return True
    return False


def wrong_copies(c):
    for name in ("p", "p_plus_one", "rr", "fold"):
        for i in range(c.limbs):
            def flip(d, name=name, i=i):
                getattr(d, name)[i] ^= 1
            yield f"{name}[{i}]", flip
    yield "QUOTIENT", lambda d: setattr(d, "quotient", d.quotient ^ 2)
    yield "a fold that leaves no p", lambda d: setattr(d, "spare", 0)
    yield "a fold that leaves two p", lambda d: setattr(d, "spare", 2)


def main():
    failed = 0
    for name, p in PRIME.items():
        with open(os.path.join(ENGINE, f"ec_{name}.h"), encoding="utf-8") as f:
            text = f.read()
        try:
            c = Curve(text)
            check_constants(c, p)
            most, of_product = check_bounds(c, p)
            print(f"{name}: elements below {most:.3f} p, products below {of_product:.3f} p")
        except Wrong as e:
            print(f"FAIL: ec_{name}.h: {e}")
            failed += 1
            continue
        for what, change in wrong_copies(c):
            if not refused(text, p, change):
                print(f"FAIL: {name}: wrong {what} goes through")
                failed += 1
    print(f"{len(PRIME)} curves, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
