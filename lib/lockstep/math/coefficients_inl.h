#pragma once
// Minimax polynomials and constants, written by scripts/golden/math_coefficients. Never edit by hand.

#include <cstdint>

namespace lockstep::math::internal {

constexpr float kLog2E = 0x1.715476p0f;
constexpr float kLn2High = 0x1.62e4p-1f;
constexpr float kLn2Low = 0x1.7f7d1cp-20f;
constexpr double kLog2EWide = 0x1.71547652b82fep0;
constexpr double kLn2WideHigh = 0x1.62e42fefa38p-1;
constexpr double kLn2WideLow = 0x1.ef35793c7673p-45;
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
constexpr double kHalfPiHigh = 0x1.921fb54442d18p0;
constexpr double kHalfPiLow = 0x1.1a62633145c07p-54;
// 2 / pi in words of 32 bits, from the highest behind the point.
constexpr std::uint64_t kTwoOverPiWord0 = 0xa2f9836e;
constexpr std::uint64_t kTwoOverPiWord1 = 0x4e441529;
constexpr std::uint64_t kTwoOverPiWord2 = 0xfc2757d1;
constexpr std::uint64_t kTwoOverPiWord3 = 0xf534ddc0;
constexpr std::uint64_t kTwoOverPiWord4 = 0xdb629599;
constexpr std::uint64_t kTwoOverPiWord5 = 0x3c439041;
constexpr std::uint64_t kTwoOverPiWord6 = 0xfe5163ab;
constexpr float kSqrtHalf = 0x1.6a09e6p-1f;

// e^r = 1 + r + r^2 (C0 + C1 r + …), |r| <= ln(2) / 2, relative: off by at most 2^-28.3
constexpr float kExpC0 = 0x1.fffffcp-2f;
constexpr float kExpC1 = 0x1.555492p-3f;
constexpr float kExpC2 = 0x1.5558acp-5f;
constexpr float kExpC3 = 0x1.12397ep-7f;
constexpr float kExpC4 = 0x1.6a518cp-10f;

// (e^r - 1 - r) / r^2 of the double form, relative to e^r - 1: off by at most 2^-34.2
constexpr double kExpm1C0 = 0x1.00000008f9504p-1;
constexpr double kExpm1C1 = 0x1.5555556744adep-3;
constexpr double kExpm1C2 = 0x1.55552feb8cd72p-5;
constexpr double kExpm1C3 = 0x1.1110c650de641p-7;
constexpr double kExpm1C4 = 0x1.6c648d411f10ep-10;
constexpr double kExpm1C5 = 0x1.a15147738e43cp-13;
constexpr double kExpm1C6 = 0x1.4431ffadb7378p-16;

// 2^r = 1 + r (C0 + C1 r + …), |r| <= 1/2, relative: off by at most 2^-32.0
constexpr double kExp2C0 = 0x1.62e4300b9e9d2p-1;
constexpr double kExp2C1 = 0x1.ebfbe04572f14p-3;
constexpr double kExp2C2 = 0x1.c6b0551bb8e82p-5;
constexpr double kExp2C3 = 0x1.3b2a1bf280a14p-7;
constexpr double kExp2C4 = 0x1.5dc0526a9f826p-10;
constexpr double kExp2C5 = 0x1.443f991282e2cp-13;
constexpr double kExp2C6 = 0x1.c0476e46bac98p-17;

// log(1 + f) = f + f^2 (-1/2 + f (C0 + C1 f + …)), sqrt(1/2) <= 1 + f <= sqrt(2), relative: off by at most
// 2^-30.3
constexpr float kLogC0 = 0x1.555548p-2f;
constexpr float kLogC1 = -0x1.000008p-2f;
constexpr float kLogC2 = 0x1.99a478p-3f;
constexpr float kLogC3 = -0x1.555b8cp-3f;
constexpr float kLogC4 = 0x1.233af6p-3f;
constexpr float kLogC5 = -0x1.fc3e3ap-4f;
constexpr float kLogC6 = 0x1.e6dd24p-4f;
constexpr float kLogC7 = -0x1.dd992ap-4f;
constexpr float kLogC8 = 0x1.13be0cp-4f;

// log2(m) = s (2 / ln(2) + s^2 (C0 + C1 s^2 + …)), s = (m - 1) / (m + 1), relative: off by at most 2^-50.7
constexpr double kLog2C0 = 0x1.ec709dc39dba2p-1;
constexpr double kLog2C1 = 0x1.2776c51574fd8p-1;
constexpr double kLog2C2 = 0x1.a6175792a9304p-2;
constexpr double kLog2C3 = 0x1.484f6d129f3ccp-2;
constexpr double kLog2C4 = 0x1.0bbe746c33579p-2;
constexpr double kLog2C5 = 0x1.f0f83ca7e8fffp-3;
constexpr double kTwoOverLn2 = 0x1.71547652b82fep1;

// erf(x) = x + x (C0 + C1 x^2 + …), |x| <= 0.9275, relative: off by at most 2^-30.1
constexpr float kErfNearC0 = 0x1.06eba8p-3f;
constexpr float kErfNearC1 = -0x1.812742p-2f;
constexpr float kErfNearC2 = 0x1.ce2deep-4f;
constexpr float kErfNearC3 = -0x1.b80d2p-6f;
constexpr float kErfNearC4 = 0x1.54be8ap-8f;
constexpr float kErfNearC5 = -0x1.aa0518p-11f;
constexpr float kErfNearC6 = 0x1.5c4ea2p-14f;

// erf(x) = 1 - exp(-x - x (C0 + C1 x + …)), 0.9275 <= x <= 3.95, absolute error of erf: off by at most
// 2^-32.3
constexpr float kErfFarC0 = 0x1.0749f8p-3f;
constexpr float kErfFarC1 = 0x1.456c38p-1f;
constexpr float kErfFarC2 = 0x1.af6d82p-4f;
constexpr float kErfFarC3 = -0x1.74a5p-6f;
constexpr float kErfFarC4 = 0x1.85c798p-9f;
constexpr float kErfFarC5 = -0x1.1281d2p-14f;
constexpr float kErfFarC6 = -0x1.64236ep-15f;
constexpr float kErfFarC7 = 0x1.3a1bb6p-18f;

// sin(r) = r + r^3 (C0 + C1 r^2 + …), |r| <= pi / 4, relative: off by at most 2^-37.5
constexpr double kSinC0 = -0x1.5555554c71a5ap-3;
constexpr double kSinC1 = 0x1.1111086a417dbp-7;
constexpr double kSinC2 = -0x1.a00f7f0e7cbf7p-13;
constexpr double kSinC3 = 0x1.6cd1ec4b1289dp-19;

// cos(r) = 1 - r^2 / 2 + r^4 (C0 + C1 r^2 + …), |r| <= pi / 4, relative: off by at most 2^-42.9
constexpr double kCosC0 = 0x1.5555554ed963ap-5;
constexpr double kCosC1 = -0x1.6c16b829f2248p-10;
constexpr double kCosC2 = 0x1.a010deb9750cbp-16;
constexpr double kCosC3 = -0x1.241e976d1d98fp-22;

}  // namespace lockstep::math::internal
