#include "weights.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/error.h"
#include "lockstep/safetensors/safetensors.h"
#include "lockstep/state/durable_file.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep::trainers {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMostConfigBytes = 1 << 20;
constexpr const char* kPrefix = "transformer.";
constexpr const char* kHead = "lm_head.weight";

// ---- config.json

class ConfigReader {
 public:
  ConfigReader(std::string file, Json json) : file_(std::move(file)), json_(std::move(json)) {}

  template <class Value>
  Value get(const char* name, Value fallback) const {
    const auto found = json_.find(name);
    if (found == json_.end() || found->is_null()) return fallback;
    try {
      return found->get<Value>();
    } catch (const Json::exception&) {
      fail(ErrorCode::corruption, {file_, name, "a value of another kind", found->dump(), {}});
    }
  }
  /// The member must be absent, null or one of `allowed`.
  template <class Value>
  void require(const char* name, const std::vector<Value>& allowed) const {
    const Value value = get<Value>(name, allowed[0]);
    for (const Value& one : allowed)
      if (value == one) return;
    fail(ErrorCode::unsupported, {file_, name, Json(allowed[0]).dump(), Json(value).dump(),
                                  "Only GPT-2 as it was published can be loaded"});
  }

 private:
  std::string file_;
  Json json_;
};

ConfigReader open_config(const fs::path& file) {
  const std::string text = state::read_file(file, kMostConfigBytes);
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    fail(ErrorCode::corruption, {file.string(), "content", "a JSON object", "something else", {}});
  return {file.string(), std::move(json)};
}

// ---- Names and layouts

/// Hugging Face's Conv1D keeps [in, out], torch::nn::Linear [out, in].
bool is_transposed(const std::string& name) {
  return name.ends_with("c_attn.weight") || name.ends_with("c_proj.weight") || name.ends_with("c_fc.weight");
}

/// Causal masks that early files hold as buffers.
bool is_mask(const std::string& name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

std::string without_prefix(const std::string& name) {
  return name.starts_with(kPrefix) ? name.substr(std::string_view(kPrefix).size()) : name;
}

class WeightFile {
 public:
  explicit WeightFile(const fs::path& file) : name_(file.string()), weights_(file) {}

  /// The tensor of a parameter, in the parameter's layout and type.
  torch::Tensor take(const std::string& name, const torch::Tensor& parameter) const {
    const SafetensorsEntry* entry = weights_.find(kPrefix + name);
    if (entry == nullptr) entry = weights_.find(name);
    if (entry == nullptr)
      fail(ErrorCode::corruption, {name_, "tensor " + name, "one of this name", "none",
                                   "Load a GPT-2 of the same number of --layers"});
    const torch::Tensor stored = read(*entry);
    const torch::Tensor tensor = is_transposed(name) && stored.dim() == 2 ? stored.t() : stored;
    if (tensor.sizes() != parameter.sizes())
      fail(ErrorCode::corruption, {name_, "shape of tensor " + entry->name, c10::str(parameter.sizes()),
                                   c10::str(tensor.sizes()), "Load a GPT-2 of the same configuration"});
    return tensor.to(torch::kFloat);
  }

  void check_names(const std::set<std::string>& known) const {
    for (const SafetensorsEntry& entry : weights_.tensors()) {
      const std::string name = without_prefix(entry.name);
      if (known.contains(name) || is_mask(name) || entry.name == kHead) continue;
      fail(ErrorCode::corruption, {name_, "tensor " + entry.name, "a parameter of this model", "none of them",
                                   "Load a GPT-2 of the same number of --layers"});
    }
  }

  void check_head(const torch::Tensor& table) const {
    const SafetensorsEntry* const head = weights_.find(kHead);
    if (head == nullptr || digest_of(read(*head).to(torch::kFloat)) == digest_of(table)) return;
    fail(ErrorCode::unsupported, {name_, kHead, "the token table, wte.weight", "other numbers",
                                  "Only models whose head is tied to their token table can be loaded"});
  }

 private:
  torch::Tensor read(const SafetensorsEntry& entry) const {
    if (entry.dtype != DType::float32 && entry.dtype != DType::float16 && entry.dtype != DType::bfloat16)
      fail(ErrorCode::unsupported, {name_, "tensor " + entry.name, "float32, float16 or bfloat16",
                                    std::string(dtype_name(entry.dtype)), "Convert the file to float32"});
    const std::vector<std::int64_t> sizes(entry.shape.begin(), entry.shape.end());
    const torch::Tensor tensor = torch::empty(sizes, to_scalar_type(entry.dtype));
    weights_.read(entry, {tensor.mutable_data_ptr(), entry.dtype, entry.shape});
    return tensor;
  }

  std::string name_;
  SafetensorsFile weights_;
};

Json config_json(const Gpt2Config& config) {
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"activation_function", "gelu_new"},
          {"n_layer", config.layers},
          {"n_head", config.heads},
          {"n_embd", config.width},
          {"n_positions", config.context},
          {"vocab_size", config.vocabulary},
          {"layer_norm_epsilon", config.norm_epsilon},
          {"embd_pdrop", config.dropout},
          {"resid_pdrop", config.dropout},
          {"attn_pdrop", config.attention_dropout},
          {"initializer_range", 0.02},
          {"tie_word_embeddings", true},
          {"bos_token_id", nullptr},
          {"eos_token_id", nullptr},
          {"torch_dtype", "float32"}};
}

}  // namespace

Gpt2Config read_gpt2_config(const fs::path& folder) {
  const ConfigReader reader = open_config(folder / "config.json");
  reader.require<std::string>("model_type", {"gpt2"});
  reader.require<std::string>("activation_function", {"gelu_new", "gelu_pytorch_tanh"});
  reader.require<bool>("scale_attn_weights", {true});
  reader.require<bool>("scale_attn_by_inverse_layer_idx", {false});
  reader.require<bool>("add_cross_attention", {false});
  reader.require<bool>("tie_word_embeddings", {true});
  Gpt2Config config = gpt2_config("gpt2");
  config.vocabulary = reader.get("vocab_size", config.vocabulary);
  config.context = reader.get("n_positions", config.context);
  config.width = reader.get("n_embd", config.width);
  config.heads = reader.get("n_head", config.heads);
  config.layers = reader.get("n_layer", config.layers);
  config.norm_epsilon = reader.get("layer_norm_epsilon", config.norm_epsilon);
  reader.require<std::int64_t>("n_inner", {4 * config.width});
  config.check();
  return config;
}

void load_gpt2(Gpt2& model, const fs::path& place) {
  const WeightFile file(fs::is_directory(place) ? place / "model.safetensors" : place);
  const torch::NoGradGuard no_grad;
  std::set<std::string> known;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> found;
  for (const auto& parameter : model.named_parameters()) {
    known.insert(parameter.key());
    found.emplace_back(parameter.value(), file.take(parameter.key(), parameter.value()));
  }
  file.check_names(known);
  file.check_head(found[0].second);
  for (const auto& [parameter, tensor] : found) parameter.copy_(tensor);
}

void save_gpt2(const Gpt2& model, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_errno(error.value(), folder.string(), "cannot make the folder");
  std::vector<torch::Tensor> held;
  std::vector<SafetensorsTensor> tensors;
  for (const auto& parameter : model.named_parameters()) {
    const torch::Tensor value = parameter.value().detach();
    held.push_back(viewable(is_transposed(parameter.key()) ? value.t() : value));
    tensors.push_back({kPrefix + parameter.key(), view_of(held.back())});
  }
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  state::write_file_durably(folder / "config.json", config_json(model.config()).dump(2) + "\n");
}

}  // namespace lockstep::trainers
