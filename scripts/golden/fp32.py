"""float32 arithmetic from its definition, for the programs that write expected bits: exact rationals, then one rounding.

Values are fractions.Fraction that float32 can hold. Zeros have no sign here; NaN and infinities do not occur.
"""

import math
import struct
from fractions import Fraction


def round32(exact):
    """The nearest float32, ties to even; subnormals kept."""
    if exact == 0:
        return Fraction(0)
    exponent = math.floor(math.log2(abs(exact)))
    while abs(exact) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(exact) < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** max(exponent - 23, -149)
    return Fraction(round(exact / quantum)) * quantum  # round() of a Fraction takes ties to even


def add(a, b):
    return round32(a + b)


def sub(a, b):
    return round32(a - b)


def mul(a, b):
    return round32(a * b)


def div(a, b):
    return round32(a / b)


def fma(a, b, c):
    return round32(a * b + c)


def sqrt(a):
    """A root of 80 bits or more, with a half in the last place where it is not exact: that rounds as the root does."""
    scale = 160
    root = math.isqrt(int(a * Fraction(4) ** scale))
    exact = root * root == a * Fraction(4) ** scale
    return round32((Fraction(root) if exact else Fraction(2 * root + 1, 2)) / Fraction(2) ** scale)


def from_double(value):
    """A Python float, rounded once."""
    return Fraction(struct.unpack("<f", struct.pack("<f", value))[0])


def bits(value):
    return struct.unpack("<I", struct.pack("<f", float(value)))[0]


def element(index):
    """Input number `index`: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation rounds. Never 0."""
    word = (index * 2654435761 + 12345) % 2**32
    return Fraction(2 * ((word >> 9) - 2**22) + 1) * Fraction(2) ** ((word & 7) - 4 - 23)


ELEMENT_IN_CPP = """\
/// Input number `index`: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation rounds. Never 0.
inline float {name}(std::uint32_t index) {{
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(2 * (static_cast<std::int32_t>(word >> 9) - (1 << 22)) + 1),
                    static_cast<int>(word & 7) - 4 - 23);
}}
"""


def header(program, includes, element_name):
    lines = ["#pragma once", f"// Expected bits, written by scripts/golden/{program}. Never edit by hand.", ""]
    lines += [f"#include <{name}>" for name in includes]
    lines += ["", "namespace lockstep {", "", ELEMENT_IN_CPP.format(name=element_name)]
    return "\n".join(lines)


def hexes(values, per_line=8, indent="    "):
    words = [f"0x{bits(value):08x}" for value in values]
    rows = [", ".join(words[i:i + per_line]) for i in range(0, len(words), per_line)]
    return (",\n" + indent).join(rows)
