#pragma once
// The contract in its slowest and most obvious form, for any floating-point type: each operand is a function
// of the element's index.

#include <cstddef>

#include "lockstep/elementwise/elementwise_inl.h"

namespace lockstep {

template <class T, class X, class Other>
void add_scaled_ref(T* out, X x, Other other, T alpha, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = elementwise::add_scaled<T>(x(i), other(i), alpha);
}

template <class T, class X, class A, class B>
void addcmul_ref(T* out, X x, A a, B b, T value, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = elementwise::addcmul<T>(x(i), a(i), b(i), value);
}

template <class T, class X, class A, class B>
void addcdiv_ref(T* out, X x, A a, B b, T value, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = elementwise::addcdiv<T>(x(i), a(i), b(i), value);
}

template <class T, class Start, class End, class Weight>
void lerp_ref(T* out, Start start, End end, Weight weight, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = elementwise::lerp<T>(start(i), end(i), weight(i));
}

}  // namespace lockstep
