#pragma once
// Weights as Hugging Face's transformers keep GPT-2's: config.json and model.safetensors.

#include <filesystem>

#include "model.h"

namespace lockstep::trainers {

/// The configuration of a folder's config.json. Probabilities of dropout are not taken over. Throws
/// Error(not_found, io); Error(corruption) for what is no configuration; Error(unsupported) for another
/// model, or for a variant of GPT-2 that this one is not, naming the member.
Gpt2Config read_gpt2_config(const std::filesystem::path& folder);

/// Fills the model from a safetensors file, or from model.safetensors of a folder. Names may begin with
/// "transformer."; linear weights lie transposed there; float16 and bfloat16 are widened, which is exact.
/// The attention masks of old files are passed over. Throws Error(corruption) naming the tensor that is
/// missing, unknown or of another shape; Error(unsupported) for other types, and a head that is not the token
/// table. The model is then as it was.
void load_gpt2(Gpt2& model, const std::filesystem::path& place);

/// Writes config.json and model.safetensors into `folder`, which is made where it is not there.
/// transformers' GPT2LMHeadModel.from_pretrained(folder) reads them. Throws Error(io).
void save_gpt2(const Gpt2& model, const std::filesystem::path& folder);

}  // namespace lockstep::trainers
