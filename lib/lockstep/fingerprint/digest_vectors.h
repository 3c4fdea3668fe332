#pragma once
// Digests of the byte pattern of README.md, "Vectors", made by a second implementation written from that page
// alone.

#include <vector>

#include "lockstep/base/dtype.h"
#include "lockstep/base/shape.h"

namespace lockstep::fingerprint {

struct DigestVector {
  DType dtype;
  Shape shape;
  const char* ordered;
  const char* unordered;
};

inline const std::vector<DigestVector> kDigestVectors{
    {DType::uint8, {0}, "4f3be229e252bbae0fdf31f4b8a54055", "4f3be229e252bbae0fdf31f4b8a54055"},
    {DType::uint8, {}, "a6e280e01078aca7437ee1921244370b", "ba3ae1d09536b547921e4ac8f00af29a"},
    {DType::boolean, {3}, "97705de2a8aeed932831790ecee0f009", "234eafa870c68d038908fa35c28e4271"},
    {DType::uint8, {5}, "cc2ea96ce1dcc01cc5ec66903454552b", "1abddf0e75a5dd8eae1219f3f1d004bf"},
    {DType::uint8, {2, 3}, "7b4abebd240460f996d81dd74afecfbc", "38d5ee7971785085c1a3ffbaf34ea3d6"},
    {DType::int16, {3, 3}, "12d66f630bbe8ce5749ff13b37ff952a", "7fe110069f4e7bd11a70274da4ad58c1"},
    {DType::int64, {64}, "637e3e6a6c77de88c12acad9457bbbfd", "ef8357f8623c0a489321704f0bac050c"},
    {DType::uint8, {64, 784}, "3e6b0dbbd236eeb870cacb2f66d0f655", "8490571a014fad4ab6e3ed4078d95a58"},
    {DType::float32, {33, 65}, "97d3bafa7073aae8cbb63a34ffc0ab05", "44eba0d0ae42bd33b416f33cae8b9b7a"},
    {DType::float16, {7, 129}, "0a1470d243da75fef92358a721b0e19b", "be086859283b91eab3169813a9516659"},
    {DType::bfloat16, {7, 129}, "508660a0ce2e452cbaae9825b5fc9c6c", "bebc6b64ceb34314fcbde671abcdd2a8"},
    {DType::float64, {5, 300}, "9b7440d58c8c6fa1adfadb724f58d1d2", "e24212ee603fb88e2cf41db29ecd9571"},
    {DType::float64, {}, "1017f01cd9720bfcf7f83f5f9f284618", "1a662fe419820541184e6273cfa66809"},
    {DType::int32, {2, 0, 3}, "7e6fe6bdf4c49631005d1ea2bd94ad5e", "92120a1594ac7411dcedc9e5a72ef115"},
    {DType::uint8, {70, 1030}, "0551590ce543822795f5f86868f8a09a", "3b11c6178ab2f1ae3df525073b19d6f9"},
    {DType::float16, {9, 2001}, "5ce94ecfddf27b2f2f317903367f1f05", "f77e034e30a47adce4592569c4ce0c94"},
    {DType::bfloat16, {9, 2000}, "5a4fffcffb4b3a09474165adeee6f485", "391b404c1762c5c26bcdb6a1ac473112"},
    {DType::float64, {5, 1001}, "69ec748a73a98aa8118b40b168b626ee", "0e520f3376f3202e597de19a0b8d86d7"},
    {DType::int8, {3, 9999}, "b8753edad3aba71ce90caedc6fc44f19", "440efe2ab9776b7331ce1dd1b6d60bf8"},
};

}  // namespace lockstep::fingerprint
