#pragma once
// Minimax polynomials and constants, written by scripts/golden/math_coefficients. Never edit by hand.

#include <cstdint>

#include "lockstep/base/host_device.h"

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
constexpr float kExpC3 = 0x1.12398p-7f;
constexpr float kExpC4 = 0x1.6a51a2p-10f;

// (e^r - 1 - r) / r^2 of the double form, relative to e^r - 1: off by at most 2^-34.2
constexpr double kExpm1C0 = 0x1.00000008f8fadp-1;
constexpr double kExpm1C1 = 0x1.5555556743f5bp-3;
constexpr double kExpm1C2 = 0x1.55552febd22aep-5;
constexpr double kExpm1C3 = 0x1.1110c6511bc95p-7;
constexpr double kExpm1C4 = 0x1.6c648ce8be09cp-10;
constexpr double kExpm1C5 = 0x1.a15147e8a5b32p-13;
constexpr double kExpm1C6 = 0x1.4432999ba2a5fp-16;

// 2^r = 1 + r (C0 + C1 r + …), |r| <= 1/2, relative: off by at most 2^-32.0
constexpr double kExp2C0 = 0x1.62e4300b9ec64p-1;
constexpr double kExp2C1 = 0x1.ebfbe04571dbap-3;
constexpr double kExp2C2 = 0x1.c6b0551c23873p-5;
constexpr double kExp2C3 = 0x1.3b2a1bf1e08c3p-7;
constexpr double kExp2C4 = 0x1.5dc051878d6bp-10;
constexpr double kExp2C5 = 0x1.443f9a14d683fp-13;
constexpr double kExp2C6 = 0x1.c048ca5317e02p-17;

// log(1 + f) = f + f^2 (-1/2 + f (C0 + C1 f + …)), sqrt(1/2) <= 1 + f <= sqrt(2), relative: off by at most
// 2^-30.3
constexpr float kLogC0 = 0x1.555548p-2f;
constexpr float kLogC1 = -0x1.000008p-2f;
constexpr float kLogC2 = 0x1.99a478p-3f;
constexpr float kLogC3 = -0x1.555b8cp-3f;
constexpr float kLogC4 = 0x1.233af6p-3f;
constexpr float kLogC5 = -0x1.fc3e3cp-4f;
constexpr float kLogC6 = 0x1.e6dd28p-4f;
constexpr float kLogC7 = -0x1.dd9916p-4f;
constexpr float kLogC8 = 0x1.13bdep-4f;

// log2(m) = s (2 / ln(2) + s^2 (C0 + C1 s^2 + …)), s = (m - 1) / (m + 1), relative: off by at most 2^-50.7
constexpr double kLog2C0 = 0x1.ec709dc39dba2p-1;
constexpr double kLog2C1 = 0x1.2776c51574fdep-1;
constexpr double kLog2C2 = 0x1.a6175792a8762p-2;
constexpr double kLog2C3 = 0x1.484f6d12d288ap-2;
constexpr double kLog2C4 = 0x1.0bbe74669fb6bp-2;
constexpr double kLog2C5 = 0x1.f0f83d141973dp-3;
constexpr double kTwoOverLn2 = 0x1.71547652b82fep1;

// tanh(x) around c = 0, 1/4, … 7 3/4, the last to 9.1: off by at most 2^-29.3, relative. Rows: Base, C0, C1,
// C2, C3, C4, C5, C6.
LOCKSTEP_HOST_DEVICE inline const float* tanh_pieces() {
  alignas(64) static constexpr float kPieces[8][32] = {
      {0x0p0f,         0x0p0f,         0x1.d9353ep-2f, 0x1.45323ep-1f, 0x1.85efacp-1f, 0x1.b2523cp-1f,
       0x1.cf6f98p-1f, 0x1.e1fbfap-1f, 0x1.ed9506p-1f, 0x1.f4bfd6p-1f, 0x1.f92582p-1f, 0x1.fbd50ap-1f,
       0x1.fd77d2p-1f, 0x1.fe767ap-1f, 0x1.ff112cp-1f, 0x1.ff6f18p-1f, 0x1.ffa818p-1f, 0x1.ffcaacp-1f,
       0x1.ffdfa8p-1f, 0x1.ffec62p-1f, 0x1.fff41ap-1f, 0x1.fff8c8p-1f, 0x1.fffbap-1f,  0x1.fffd58p-1f,
       0x1.fffe64p-1f, 0x1.ffff06p-1f, 0x1.ffff68p-1f, 0x1.ffffa4p-1f, 0x1.ffffc8p-1f, 0x1.ffffdep-1f,
       0x1.ffffecp-1f, 0x1.fffff4p-1f},
      {0x0p0f,           -0x1.4d02b4p-8f,  -0x1.13dc76p-27f, 0x1.55bd44p-27f,  -0x1.5d3f7ep-26f,
       -0x1.2539d4p-27f, -0x1.e4918ap-27f, -0x1.039df2p-26f, -0x1.e44c34p-29f, 0x1.85bef6p-26f,
       0x1.829c24p-27f,  -0x1.461466p-27f, -0x1.dcbe92p-26f, -0x1.45957ep-26f, 0x1.8ea432p-27f,
       -0x1.62ae16p-27f, -0x1.eebe94p-26f, 0x1.f9073ep-28f,  -0x1.bd58cep-26f, -0x1.b0cb8ap-26f,
       -0x1.32e41ep-26f, 0x1.c6dc36p-29f,  -0x1.a07c2ep-26f, 0x1.80a414p-28f,  -0x1.5076bp-27f,
       -0x1.72ce6ep-29f, 0x1.3fb26ep-27f,  -0x1.bb1ef4p-34f, 0x1.93a878p-28f,  0x1.3b052p-28f,
       -0x1.0eb872p-26f, -0x1.ce3c4ep-27f},
      {0x0p0f,          -0x1.eb65fep-5f, 0x1.92a948p-1f,  0x1.3173b2p-1f,  0x1.ae0dc2p-2f,  0x1.1f2512p-2f,
       0x1.721652p-3f,  0x1.d22ca2p-4f,  0x1.2162c2p-4f,  0x1.64108ap-5f,  0x1.b3afe2p-6f,  0x1.09a7a6p-6f,
       0x1.434a52p-7f,  0x1.88ef68p-8f,  0x1.dd37d2p-9f,  0x1.21a7aep-9f,  0x1.5f85aep-10f, 0x1.aa87dp-11f,
       0x1.02bec8p-11f, 0x1.39e782p-12f, 0x1.7ccec2p-13f, 0x1.cdf5a4p-14f, 0x1.1832dcp-14f, 0x1.53e714p-15f,
       0x1.9c5378p-16f, 0x1.f42dep-17f,  0x1.2f5ffap-17f, 0x1.700356p-18f, 0x1.be6c4p-19f,  0x1.0ec4f2p-19f,
       0x1.4875bep-20f, 0x1.8e7d0ep-21f},
      {-0x1.521a9cp-25f, -0x1.d7813ep-3f,  -0x1.74274p-2f,   -0x1.8403d8p-2f,  -0x1.4786c2p-2f,
       -0x1.e72918p-3f,  -0x1.4efbd8p-3f,  -0x1.b6d85ap-4f,  -0x1.16f9d2p-4f,  -0x1.5c3d9p-5f,
       -0x1.addae6p-6f,  -0x1.077e0cp-6f,  -0x1.41b10ap-7f,  -0x1.87c164p-8f,  -0x1.dc5938p-9f,
       -0x1.2155b4p-9f,  -0x1.5f4952p-10f, -0x1.aa5b62p-11f, -0x1.02ae7p-11f,  -0x1.39db7cp-12f,
       -0x1.7cc5e8p-13f, -0x1.cdef2p-14f,  -0x1.183078p-14f, -0x1.53e55p-15f,  -0x1.9c522cp-16f,
       -0x1.f42cecp-17f, -0x1.2f5fap-17f,  -0x1.700314p-18f, -0x1.be6c0ep-19f, -0x1.0ec4ep-19f,
       -0x1.4875acp-20f, -0x1.8e531p-21f},
      {-0x1.55542ap-2f, -0x1.071d72p-2f, -0x1.81e3d4p-4f, 0x1.5679acp-5f,  0x1.a85988p-4f,  0x1.bba83cp-4f,
       0x1.67b35p-4f,   0x1.01ba16p-4f,  0x1.58f5cap-5f,  0x1.bbcdecp-6f,  0x1.16df36p-6f,  0x1.599724p-7f,
       0x1.a8abacp-8f,  0x1.0398fep-8f,  0x1.3c67ecp-9f,  0x1.80ed52p-10f, 0x1.d3bf86p-11f, 0x1.1c010ep-11f,
       0x1.58bdeap-12f, 0x1.a25a72p-13f, 0x1.fb9964p-14f, 0x1.33eafep-14f, 0x1.7590a6p-15f, 0x1.c52ce8p-16f,
       0x1.12df42p-16f, 0x1.4d7184p-17f, 0x1.947e1p-18f,  0x1.eaac76p-19f, 0x1.299c4cp-19f, 0x1.6905f6p-20f,
       0x1.b5f03p-21f,  0x1.06e5c2p-21f},
      {-0x1.594a5cp-13f, 0x1.1dfbdap-3f,   0x1.513eaap-3f,   0x1.98a286p-4f,   0x1.c60644p-6f,
       -0x1.9c6ec2p-7f,  -0x1.990b0ap-6f,  -0x1.815864p-6f,  -0x1.252328p-6f,  -0x1.93c956p-7f,
       -0x1.07b4c2p-7f,  -0x1.4e3bep-8f,   -0x1.a0396ap-9f,  -0x1.0078fep-9f,  -0x1.3a17fp-10f,
       -0x1.7f37b2p-11f, -0x1.d27fb4p-12f, -0x1.1b8c0ep-12f, -0x1.586566p-13f, -0x1.a216e2p-14f,
       -0x1.fb697cp-15f, -0x1.33da0cp-15f, -0x1.75811p-16f,  -0x1.c525c8p-17f, -0x1.12dbaep-17f,
       -0x1.4d6e68p-18f, -0x1.947c5ap-19f, -0x1.eaa9d8p-20f, -0x1.299ce2p-20f, -0x1.690544p-21f,
       -0x1.b5f9bap-22f, -0x1.ec3d64p-23f},
      {0x1.1682b4p-3f,  0x1.269f9ap-4f,  -0x1.ae7284p-6f, -0x1.0422ecp-4f, -0x1.79b59p-5f,  -0x1.3ecb3p-6f,
       -0x1.6d7454p-9f, 0x1.df88ep-9f,   0x1.3774bep-8f,  0x1.047edep-8f,  0x1.76c632p-9f,  0x1.f3e3f8p-10f,
       0x1.40b44ep-10f, 0x1.92249ep-11f, 0x1.f0a446p-12f, 0x1.303bf2p-12f, 0x1.74c48cp-13f, 0x1.c5ddfep-14f,
       0x1.12c834p-14f, 0x1.4e3ffcp-15f, 0x1.976b58p-16f, 0x1.eeb39p-17f,  0x1.2a763p-17f,  0x1.6b2ae2p-18f,
       0x1.b920b8p-19f, 0x1.0b87a8p-19f, 0x1.447a6ap-20f, 0x1.8a56bap-21f, 0x1.de2342p-22f, 0x1.218dbap-22f,
       0x1.604fb6p-23f, 0x1.2f7362p-24f},
      {-0x1.40520ep-6f,  -0x1.145a7ap-4f,  -0x1.9958c8p-5f,  -0x1.c4cab2p-10f, 0x1.34962ap-6f,
       0x1.ef36e8p-7f,   0x1.d6126ap-8f,   0x1.06444ep-9f,   -0x1.0c59b2p-13f, -0x1.7a052cp-11f,
       -0x1.7a7324p-11f, -0x1.1dd07cp-11f, -0x1.87e80ap-12f, -0x1.fbef14p-13f, -0x1.41df92p-13f,
       -0x1.8fe966p-14f, -0x1.e9c67cp-15f, -0x1.2ae956p-15f, -0x1.6e416p-16f,  -0x1.c0c2d6p-17f,
       -0x1.0fe314p-17f, -0x1.493ce6p-18f, -0x1.90eb46p-19f, -0x1.e0e56ap-20f, -0x1.263492p-20f,
       -0x1.65778cp-21f, -0x1.b078bep-22f, -0x1.07e96cp-22f, -0x1.3daceep-23f, -0x1.82c28ap-24f,
       -0x1.ca80fap-25f, -0x1.6b29bcp-27f},
  };
  return kPieces[0];
}

// erf(x) around c = 0, 1/8, … 3 7/8, the last to 3.95: off by at most 2^-28.7, relative. Rows: Base, C0, C1,
// C2, C3, C4, C5.
LOCKSTEP_HOST_DEVICE inline const float* erf_pieces() {
  alignas(64) static constexpr float kPieces[7][32] = {
      {0x0p0f,         0x0p0f,         0x0p0f,         0x0p0f,         0x1.0a7ef6p-1f, 0x1.3f196ep-1f,
       0x1.6c1c98p-1f, 0x1.91724ap-1f, 0x1.af767ap-1f, 0x1.c6dad2p-1f, 0x1.d8865ep-1f, 0x1.e5768cp-1f,
       0x1.eea556p-1f, 0x1.f4f694p-1f, 0x1.f92d08p-1f, 0x1.fbe61ep-1f, 0x1.fd9ae2p-1f, 0x1.fea422p-1f,
       0x1.ff4048p-1f, 0x1.ff996p-1f,  0x1.ffcaa8p-1f, 0x1.ffe514p-1f, 0x1.fff2dp-1f,  0x1.fff9bap-1f,
       0x1.fffd1ap-1f, 0x1.fffeb4p-1f, 0x1.ffff7p-1f,  0x1.ffffc4p-1f, 0x1.ffffe8p-1f, 0x1.fffff6p-1f,
       0x1.fffffcp-1f, 0x1.fffffep-1f},
      {0x0p0f,           0x1.f5e1a4p-7f,   0x1.af54e2p-6f,   0x1.dd0d2cp-6f,   -0x1.f9ffa2p-28f,
       -0x1.9cdf72p-28f, -0x1.4d3c94p-26f, -0x1.5ce3bp-26f,  0x1.d08d7ep-27f,  0x1.05be1p-26f,
       -0x1.9befbep-27f, 0x1.dd3024p-28f,  -0x1.1cf08ap-26f, -0x1.2521b4p-27f, -0x1.009afep-26f,
       0x1.debc02p-26f,  -0x1.7b0988p-26f, -0x1.ca87aep-27f, -0x1.3fb4cep-26f, 0x1.e7bc9cp-26f,
       0x1.e97c4ep-26f,  0x1.77a594p-26f,  -0x1.3f0686p-27f, 0x1.082722p-27f,  0x1.8820ap-26f,
       -0x1.44f79p-29f,  -0x1.8264ccp-27f, -0x1.d24d5ep-26f, -0x1.de55dap-26f, 0x1.8c3b04p-29f,
       0x1.78b84ep-28f,  0x1.259d96p-26f},
      {0x1.06eba8p-3f,  0x1.c62fa4p-4f,  0x1.eba2cp-5f,   -0x1.41e646p-6f, 0x1.c1efcap-1f,  0x1.86e96ap-1f,
       0x1.492e42p-1f,  0x1.0cab62p-1f,  0x1.a911fp-2f,   0x1.45e99cp-2f,  0x1.e4653p-3f,   0x1.5ce596p-3f,
       0x1.e72372p-4f,  0x1.499d48p-4f,  0x1.b0553p-5f,   0x1.12ceb4p-5f,  0x1.529b9ep-6f,  0x1.94624ep-7f,
       0x1.d4143ap-8f,  0x1.06918cp-8f,  0x1.1d8318p-9f,  0x1.2ce898p-10f, 0x1.3360cep-11f, 0x1.30539p-12f,
       0x1.2408eap-13f, 0x1.0f9e1cp-14f, 0x1.e9b5eap-16f, 0x1.abe0a2p-17f, 0x1.6a5976p-18f, 0x1.296a74p-19f,
       0x1.d93724p-21f, 0x1.6ce156p-22f},
      {0x1.0c0412p-21f,  -0x1.1c631p-3f,   -0x1.0f5cf8p-2f,  -0x1.7874a8p-2f,  -0x1.c1efaep-2f,
       -0x1.e8a3acp-2f,  -0x1.edc554p-2f,  -0x1.d62be6p-2f,  -0x1.a911f4p-2f,  -0x1.6ea6d8p-2f,
       -0x1.2ebf4ap-2f,  -0x1.dfbbc8p-3f,  -0x1.6d5aacp-3f,  -0x1.0bcfdap-3f,  -0x1.7a4a9ep-4f,
       -0x1.01a1d2p-4f,  -0x1.529bap-5f,   -0x1.ada862p-6f,  -0x1.074b46p-6f,  -0x1.37cc9cp-7f,
       -0x1.64e374p-8f,  -0x1.8af0a2p-9f,  -0x1.a6a424p-10f, -0x1.b576ccp-11f, -0x1.b60ba8p-12f,
       -0x1.a864fp-13f,  -0x1.8de15ap-14f, -0x1.6902ccp-15f, -0x1.3d0b5ep-16f, -0x1.0d8584p-17f,
       -0x1.bb9deep-19f, -0x1.6173cep-20f},
      {-0x1.8131d2p-2f, -0x1.6f5724p-2f, -0x1.3c9726p-2f, -0x1.e108dap-3f, -0x1.2bf1acp-3f, -0x1.c836b8p-5f,
       0x1.b73d3ap-6f,  0x1.7c9bb8p-4f,  0x1.1b64f8p-3f,  0x1.4cb278p-3f,  0x1.571bfap-3f,  0x1.43741cp-3f,
       0x1.1c2ab4p-3f,  0x1.d661bcp-4f,  0x1.714922p-4f,  0x1.143c5cp-4f,  0x1.8b0bd4p-5f,  0x1.0ea4ep-5f,
       0x1.63efe6p-6f,  0x1.c1eb14p-7f,  0x1.119cd6p-7f,  0x1.408008p-8f,  0x1.69ce24p-9f,  0x1.89e0f4p-10f,
       0x1.9db69ap-11f, 0x1.a3724ap-12f, 0x1.9aa33ep-13f, 0x1.844fd4p-14f, 0x1.62ca3cp-15f, 0x1.3948bp-16f,
       0x1.0b680ep-17f, 0x1.b98d8cp-19f},
      {0x1.10d088p-10f,  0x1.192edap-4f,   0x1.0387eep-3f,   0x1.54d42p-3f,    0x1.7659f2p-3f,
       0x1.68e54cp-3f,   0x1.3447p-3f,     0x1.cc2332p-4f,   0x1.1b8106p-4f,   0x1.cbca48p-6f,
       -0x1.8b8092p-8f,  -0x1.f1932cp-6f,  -0x1.6c6d62p-5f,  -0x1.969e26p-5f,  -0x1.89a14cp-5f,
       -0x1.59fe4ap-5f,  -0x1.1a276ap-5f,  -0x1.b012bap-6f,  -0x1.38f11ep-6f,  -0x1.aef29ep-7f,
       -0x1.1b1446p-7f,  -0x1.63b21p-8f,   -0x1.ac52eep-9f,  -0x1.ef0ccep-10f, -0x1.12ebc8p-10f,
       -0x1.25b9dap-11f, -0x1.2e1de6p-12f, -0x1.2b5eaep-13f, -0x1.1df392p-14f, -0x1.076a92p-15f,
       -0x1.d43f7cp-17f, -0x1.9214f8p-18f},
      {0x1.ab5e5ap-4f,  0x1.b076b6p-4f,  0x1.476086p-4f,  0x1.7b0d3cp-5f,  0x1.9309dap-8f,  -0x1.895faep-6f,
       -0x1.d198f8p-5f, -0x1.11b9cp-4f,  -0x1.205122p-4f, -0x1.f2359p-5f,  -0x1.7f758ap-5f, -0x1.f16034p-6f,
       -0x1.efb938p-7f, -0x1.f82a4p-10f, 0x1.ac2a4p-8f,   0x1.7b282ep-7f,  0x1.a9bc9p-7f,   0x1.97fdb2p-7f,
       0x1.5c6606p-7f,  0x1.1292e6p-7f,  0x1.923226p-8f,  0x1.146b1p-8f,   0x1.6a65f8p-9f,  0x1.c21fecp-10f,
       0x1.0b30dp-10f,  0x1.2f8ddap-11f, 0x1.4a4e8ep-12f, 0x1.594442p-13f, 0x1.5a7a3ap-14f, 0x1.4e2fb4p-15f,
       0x1.365006p-16f, 0x1.0ab97ep-17f},
  };
  return kPieces[0];
}

// sin(r) = r + r^3 (C0 + C1 r^2 + …), |r| <= pi / 4, relative: off by at most 2^-37.5
constexpr double kSinC0 = -0x1.5555554c7173fp-3;
constexpr double kSinC1 = 0x1.1111086a27834p-7;
constexpr double kSinC2 = -0x1.a00f7efd332b3p-13;
constexpr double kSinC3 = 0x1.6cd1e8b28955cp-19;

// cos(r) = 1 - r^2 / 2 + r^4 (C0 + C1 r^2 + …), |r| <= pi / 4, relative: off by at most 2^-42.9
constexpr double kCosC0 = 0x1.5555554ed964ap-5;
constexpr double kCosC1 = -0x1.6c16b829f2f04p-10;
constexpr double kCosC2 = 0x1.a010deb9e7e2bp-16;
constexpr double kCosC3 = -0x1.241e9782dab72p-22;

}  // namespace lockstep::math::internal
