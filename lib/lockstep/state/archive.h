#pragma once
// Structures to bytes and back through Boost.Serialization's `serialize` members, with an archive of our own:
// little-endian, no pointers, no tracking, no polymorphism, every count checked against the bytes that
// remain, so that no input can crash a reader or make it allocate more than a small multiple of its own size.
// Grammar in docs/formats/archive.md.

#include <cstddef>
#include <span>
#include <string>

namespace lockstep::state {

/// The bytes of `value`. Supported: bool, integers, enums, float, double (as bits), std::string, std::array,
/// std::vector, std::map, std::optional, std::pair, and structures with `serialize(Archive&, unsigned)`.
template <class T>
std::string to_bytes(const T& value);

/// The inverse. Throws Error(corruption) when bytes are missing, left over, or a count cannot be true.
template <class T>
T from_bytes(std::span<const std::byte> bytes);
template <class T>
T from_bytes(const std::string& bytes);

}  // namespace lockstep::state

#include "lockstep/state/archive_inl.h"
