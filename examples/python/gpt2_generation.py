#!/usr/bin/env python3
"""Generates text with a Hugging Face causal language model: each prompt alone, then all of them in one batch.

    python examples/python/gpt2_generation.py --model gpt2 "The weather today" "A short story about"

In the invariant mode a prompt's logits are the same bits in both, so the texts are equal too. Prompts are cut to the tokens
of the shortest one: a batch of prompts of different lengths would need padding on the left, which the mode refuses.
Exit code: 0 the same bits, 1 others.
"""

import argparse
import sys

import torch
import transformers

import lockstep


def load(name_or_folder, attention):
    tokenizer = transformers.AutoTokenizer.from_pretrained(name_or_folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(name_or_folder, attn_implementation=attention)
    return tokenizer, model.eval()


def tokens_of(tokenizer, prompts):
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    shortest = min(map(len, ids))
    return torch.tensor([row[:shortest] for row in ids])


def generate(model, ids, new_tokens):
    """Tokens [rows, …] and the logits of every new token [rows, new, vocabulary]; greedy."""
    result = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, min_new_tokens=new_tokens,
                            do_sample=False, output_logits=True, return_dict_in_generate=True,
                            pad_token_id=model.config.eos_token_id)
    return result.sequences, torch.stack(result.logits, dim=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=["The weather today", "A short story about", "Once upon a time"])
    parser.add_argument("--model", default="gpt2", help="a name on the Hugging Face hub, or a folder")
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="sdpa")
    parser.add_argument("--no-invariant", action="store_true", help="plain torch, to see the difference")
    options = parser.parse_args()

    tokenizer, model = load(options.model, options.attention)
    ids = tokens_of(tokenizer, options.prompts)
    all_same = True
    with torch.no_grad(), lockstep.invariant_mode(on=not options.no_invariant):
        sequences, logits = generate(model, ids, options.new_tokens)
        for row in range(len(ids)):
            sequence, alone = generate(model, ids[row:row + 1], options.new_tokens)
            same = torch.equal(alone[0], logits[row])
            all_same = all_same and same
            print(f"[{'same bits' if same else 'OTHER BITS'}] {tokenizer.decode(sequence[0])!r}")
            if not torch.equal(sequence[0], sequences[row]):
                print(f"    in the batch: {tokenizer.decode(sequences[row])!r}")
    return 0 if all_same else 1


if __name__ == "__main__":
    sys.exit(main())
