#include "lockstep/torch/attention.h"

#include <ATen/ATen.h>
#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/torch/attention_node_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/operands_internal.h"

namespace lockstep::nn {
namespace {

using invariant::AttentionCall;

constexpr const char* kName = "packed_attention";

[[noreturn]] void refuse(const char* what, std::string expected, std::string got,
                         ErrorCode code = ErrorCode::invalid_argument) {
  fail(code, {kName, what, std::move(expected), std::move(got), {}});
}

/// The keys that a call of an operation on t has.
c10::DispatchKeySet keys_of(const at::Tensor& t) {
  const c10::impl::LocalDispatchKeySet local = c10::impl::tls_local_dispatch_key_set();
  return (t.key_set() | local.included_) - local.excluded_;
}

void require_tokens(const char* name, const at::Tensor& t) {
  if (!t.defined()) refuse(name, "a tensor", "none");
  invariant::require_supported(kName, keys_of(t), t);
  if (t.dim() != 3) refuse(name, "[tokens, heads, features]", invariant::shape_text(t));
}

void require_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  require_tokens("query", q);
  require_tokens("key", k);
  require_tokens("value", v);
  if (k.size(2) != q.size(2))
    refuse("key", fmt::format("the {} features of the query", q.size(2)), invariant::shape_text(k));
  if (v.size(0) != k.size(0) || v.size(1) != k.size(1))
    refuse("value", fmt::format("the {} tokens and {} heads of the key", k.size(0), k.size(1)),
           invariant::shape_text(v));
  if (k.size(1) == 0 || q.size(1) % k.size(1) != 0)
    refuse("key", fmt::format("a divisor of the query's {} heads", q.size(1)),
           fmt::format("{} heads", k.size(1)));
}

struct Samples {
  std::vector<std::int64_t> starts, lengths;

  std::int64_t longest() const {
    return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  }
};

Samples samples_of(const char* name, const at::Tensor& ends, std::int64_t tokens) {
  if (!ends.defined() || ends.dim() != 1 || ends.size(0) == 0 || !ends.device().is_cpu() ||
      (ends.scalar_type() != at::kInt && ends.scalar_type() != at::kLong))
    refuse(name, "int32 or int64 [samples + 1] on the CPU",
           ends.defined() ? invariant::shape_text(ends) : "no tensor");
  const at::Tensor wide = ends.to(at::kLong).contiguous();
  const std::int64_t* const at = wide.const_data_ptr<std::int64_t>();
  const std::int64_t last = wide.size(0) - 1;
  if (at[0] != 0 || at[last] != tokens)
    refuse(name, fmt::format("0 at the beginning and the {} tokens at the end", tokens),
           fmt::format("{} and {}", at[0], at[last]));
  Samples samples;
  for (std::int64_t b = 0; b < last; ++b) {
    if (at[b + 1] < at[b]) refuse(name, "ends that ascend", fmt::format("{} behind {}", at[b + 1], at[b]));
    samples.starts.push_back(at[b]);
    samples.lengths.push_back(at[b + 1] - at[b]);
  }
  return samples;
}

/// As AttentionCall has them.
at::Tensor sequences_of(const Samples& queries, const Samples& keys) {
  const invariant::Computation computation;
  const auto samples = static_cast<std::int64_t>(queries.starts.size());
  const at::Tensor all = at::empty({4, samples}, at::kLong);
  auto* to = all.mutable_data_ptr<std::int64_t>();
  for (const auto* row : {&queries.starts, &queries.lengths, &keys.starts, &keys.lengths})
    to = std::copy(row->begin(), row->end(), to);
  return all;
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const at::Tensor& query_ends, const at::Tensor& key_ends,
                            const PackedAttentionOptions& options) {
  require_shapes(query, key, value);
  Samples queries, keys;
  {
    const invariant::Computation computation;
    queries = samples_of("query_ends", query_ends, query.size(0));
    keys = samples_of("key_ends", key_ends, key.size(0));
  }
  if (queries.starts.size() != keys.starts.size())
    refuse("key_ends", fmt::format("the {} samples of query_ends", queries.starts.size()),
           fmt::format("{} samples", keys.starts.size()));
  AttentionCall call;
  call.extents = {static_cast<std::int64_t>(queries.starts.size()),
                  query.size(1),
                  key.size(1),
                  queries.longest(),
                  keys.longest(),
                  query.size(2),
                  value.size(2)};
  call.scale =
      options.scale.value_or(1.0 / std::sqrt(static_cast<double>(std::max<std::int64_t>(1, query.size(2)))));
  call.causal = options.is_causal ? Causal::lower_right : Causal::none;
  call.is_packed = true;
  call.sequences = sequences_of(queries, keys);
  return invariant::attend(std::move(call), query, key, value);
}

at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const at::Tensor& ends, const PackedAttentionOptions& options) {
  return packed_attention(query, key, value, ends, ends, options);
}

}  // namespace lockstep::nn
