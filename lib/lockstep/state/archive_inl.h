#pragma once
// The two archives behind to_bytes and from_bytes. Included by archive.h alone.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/serialization/nvp.hpp>
#include <boost/serialization/serialization.hpp>

#include "lockstep/base/error.h"

namespace lockstep::state {
namespace detail {

/// Structures inside structures, deepest. Only a type that contains itself can reach it.
constexpr int kMaxDepth = 64;

template <class T>
constexpr bool is_number = (std::is_integral_v<T> || std::is_same_v<T, float> ||
                            std::is_same_v<T, double>)&&!std::is_same_v<T, bool> &&
                           !std::is_same_v<T, wchar_t>;

template <class T>
using Bits =
    std::conditional_t<sizeof(T) == 1, std::uint8_t,
                       std::conditional_t<sizeof(T) == 2, std::uint16_t,
                                          std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;

/// Numbers whose bytes in memory are their encoding, so that vectors of them are copied whole.
template <class T>
constexpr bool is_plain = is_number<T>&& std::endian::native == std::endian::little;

[[noreturn]] void fail_truncated(std::size_t wanted_bytes, std::size_t remaining_bytes);
[[noreturn]] void fail_count(std::uint64_t count, std::size_t remaining_bytes);
[[noreturn]] void fail_left_over(std::size_t bytes);
[[noreturn]] void fail_flag(const char* what, unsigned got);
[[noreturn]] void fail_key_order();
[[noreturn]] void fail_depth();
[[noreturn]] void fail_empty_element();

}  // namespace detail

/// Appends encodings to a string. User code meets it as the Archive of its serialize().
class SaveArchive {
 public:
  using is_saving = std::true_type;
  using is_loading = std::false_type;

  explicit SaveArchive(std::string& out) : out_(out) {}

  template <class T>
  SaveArchive& operator&(const T& value) {
    save(value);
    return *this;
  }
  template <class T>
  SaveArchive& operator<<(const T& value) {
    return *this & value;
  }

 private:
  template <class T>
  void save(const T& value) {
    static_assert(!std::is_pointer_v<T>, "pointers are not archived: archive what they point to");
    if constexpr (std::is_same_v<T, bool>) {
      out_ += value ? '\1' : '\0';
    } else if constexpr (detail::is_number<T>) {
      save_number(value);
    } else if constexpr (std::is_enum_v<T>) {
      save(static_cast<std::underlying_type_t<T>>(value));
    } else {
      static_assert(std::is_class_v<T>, "this type has no encoding");
      save_structure(value);
    }
  }
  void save(const std::string& value) {
    save_count(value.size());
    out_ += value;
  }
  template <class T, std::size_t N>
  void save(const std::array<T, N>& value) {
    for (const T& element : value) save(element);
  }
  template <class T, class Allocator>
  void save(const std::vector<T, Allocator>& value) {
    save_count(value.size());
    if constexpr (detail::is_plain<T>) {
      if (!value.empty()) out_.append(reinterpret_cast<const char*>(value.data()), value.size() * sizeof(T));
    } else {
      for (const T& element : value) save_element(element);
    }
  }
  template <class Allocator>
  void save(const std::vector<bool, Allocator>& value) {
    save_count(value.size());
    for (const bool element : value) save(element);
  }
  template <class K, class V, class Compare, class Allocator>
  void save(const std::map<K, V, Compare, Allocator>& value) {
    save_count(value.size());
    for (const auto& [key, mapped] : value) save_element(key), save(mapped);
  }
  template <class T>
  void save(const std::optional<T>& value) {
    save(value.has_value());
    if (value) save(*value);
  }
  template <class A, class B>
  void save(const std::pair<A, B>& value) {
    save(value.first), save(value.second);
  }
  template <class T>
  void save(const boost::serialization::nvp<T>& named) {
    save(named.const_value());
  }

  void save_count(std::size_t count) { save_number(static_cast<std::uint64_t>(count)); }

  template <class T>
  void save_number(T value) {
    const auto bits = std::bit_cast<detail::Bits<T>>(value);
    char bytes[sizeof bits];
    for (std::size_t i = 0; i < sizeof bits; ++i) bytes[i] = static_cast<char>(bits >> 8 * i);
    out_.append(bytes, sizeof bytes);
  }
  // A reader bounds counts by the bytes that remain, so elements without bytes could never be read back.
  template <class T>
  void save_element(const T& element) {
    const std::size_t before = out_.size();
    save(element);
    if (out_.size() == before) detail::fail_empty_element();
  }
  template <class T>
  void save_structure(const T& value) {
    if (++depth_ > detail::kMaxDepth) detail::fail_depth();
    // serialize() is one function for both directions and so takes a mutable object; saving does not change
    // it.
    boost::serialization::serialize_adl(*this, const_cast<T&>(value), 0);
    --depth_;
  }

  std::string& out_;
  int depth_ = 0;
};

/// Reads encodings from bytes that it does not trust.
class LoadArchive {
 public:
  using is_saving = std::false_type;
  using is_loading = std::true_type;

  explicit LoadArchive(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <class T>
  LoadArchive& operator&(T& value) {
    load(value);
    return *this;
  }
  template <class T>
  LoadArchive& operator&(const boost::serialization::nvp<T>& named) {
    load(named.value());
    return *this;
  }
  template <class T>
  LoadArchive& operator>>(T& value) {
    return *this & value;
  }
  template <class T>
  LoadArchive& operator>>(const boost::serialization::nvp<T>& named) {
    return *this & named;
  }

  /// Throws Error(corruption) unless every byte was read.
  void finish() const {
    if (!rest_.empty()) detail::fail_left_over(rest_.size());
  }

 private:
  template <class T>
  void load(T& value) {
    static_assert(!std::is_pointer_v<T>, "pointers are not archived: archive what they point to");
    if constexpr (std::is_same_v<T, bool>) {
      value = load_flag("bool");
    } else if constexpr (detail::is_number<T>) {
      value = load_number<T>();
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(load_value<std::underlying_type_t<T>>());
    } else {
      static_assert(std::is_class_v<T>, "this type has no encoding");
      load_structure(value);
    }
  }
  void load(std::string& value) {
    const std::size_t size = load_count(1);
    const auto bytes = take(size);
    value.assign(reinterpret_cast<const char*>(bytes.data()), size);
  }
  template <class T, std::size_t N>
  void load(std::array<T, N>& value) {
    for (T& element : value) load(element);
  }
  template <class T, class Allocator>
  void load(std::vector<T, Allocator>& value) {
    value.clear();
    if constexpr (detail::is_plain<T>) {
      const std::size_t count = load_count(sizeof(T));
      const auto bytes = take(count * sizeof(T));
      value.resize(count);
      if (count > 0) std::memcpy(value.data(), bytes.data(), bytes.size());
    } else {
      // Grows with what was read, never with what was promised: an element in memory may be far larger than
      // its bytes.
      for (std::size_t left = load_count(1); left > 0; --left) load_element(value.emplace_back());
    }
  }
  template <class Allocator>
  void load(std::vector<bool, Allocator>& value) {
    value.clear();
    for (std::size_t left = load_count(1); left > 0; --left) value.push_back(load_flag("bool"));
  }
  template <class K, class V, class Compare, class Allocator>
  void load(std::map<K, V, Compare, Allocator>& value) {
    value.clear();
    for (std::size_t left = load_count(1); left > 0; --left) {
      K key{};
      load_element(key);
      if (!value.empty() && !value.key_comp()(value.rbegin()->first, key)) detail::fail_key_order();
      load(value.emplace_hint(value.end(), std::move(key), V{})->second);
    }
  }
  template <class T>
  void load(std::optional<T>& value) {
    value.reset();
    if (load_flag("optional")) load(value.emplace());
  }
  template <class A, class B>
  void load(std::pair<A, B>& value) {
    load(value.first), load(value.second);
  }

  std::span<const std::byte> take(std::size_t size) {
    if (size > rest_.size()) detail::fail_truncated(size, rest_.size());
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  template <class T>
  T load_number() {
    using Bits = detail::Bits<T>;
    Bits bits = 0;
    const auto bytes = take(sizeof bits);
    for (std::size_t i = 0; i < sizeof bits; ++i) {
      bits = static_cast<Bits>(bits | static_cast<Bits>(std::to_integer<Bits>(bytes[i]) << 8 * i));
    }
    return std::bit_cast<T>(bits);
  }
  template <class T>
  T load_value() {
    T value{};
    load(value);
    return value;
  }
  bool load_flag(const char* what) {
    const auto byte = load_number<std::uint8_t>();
    if (byte > 1) detail::fail_flag(what, byte);
    return byte == 1;
  }
  std::size_t load_count(std::size_t smallest_element_bytes) {
    const auto count = load_number<std::uint64_t>();
    if (count > rest_.size() / smallest_element_bytes) detail::fail_count(count, rest_.size());
    return static_cast<std::size_t>(count);
  }
  template <class T>
  void load_element(T& element) {
    const std::size_t before = rest_.size();
    load(element);
    if (rest_.size() == before) detail::fail_empty_element();
  }
  template <class T>
  void load_structure(T& value) {
    if (++depth_ > detail::kMaxDepth) detail::fail_depth();
    boost::serialization::serialize_adl(*this, value, 0);
    --depth_;
  }

  std::span<const std::byte> rest_;
  int depth_ = 0;
};

template <class T>
std::string to_bytes(const T& value) {
  std::string bytes;
  SaveArchive(bytes) & value;
  return bytes;
}

template <class T>
T from_bytes(std::span<const std::byte> bytes) {
  T value{};
  LoadArchive archive(bytes);
  archive& value;
  archive.finish();
  return value;
}

template <class T>
T from_bytes(const std::string& bytes) {
  return from_bytes<T>(std::as_bytes(std::span(bytes)));
}

}  // namespace lockstep::state
