#!/usr/bin/env python3
"""Classifies texts with a Hugging Face DistilBERT: each text alone, then all of them in one padded batch.

    python examples/python/distilbert_classification.py --model distilbert-base-uncased-finetuned-sst-2-english "I liked it."

In the invariant mode a text's logits are the same bits in both: neither the other texts nor the length that the batch is
padded to changes them. Exit code: 0 the same bits, 1 others.
"""

import argparse
import sys

import torch
import transformers

import lockstep

TEXTS = ["A film that I would see again.", "Two hours that nobody gives back to me, and the popcorn was cold.", "Fine."]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", default=TEXTS)
    parser.add_argument("--model", default="distilbert-base-uncased-finetuned-sst-2-english",
                        help="a name on the Hugging Face hub, or a folder")
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="sdpa")
    parser.add_argument("--no-invariant", action="store_true", help="plain torch, to see the difference")
    options = parser.parse_args()

    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(options.model,
                                                                            attn_implementation=options.attention).eval()

    def encode(texts):
        return tokenizer(texts, padding=True, padding_side="right", return_token_type_ids=False, return_tensors="pt")

    all_same = True
    with torch.no_grad(), lockstep.invariant_mode(on=not options.no_invariant):
        batch = model(**encode(options.texts)).logits
        for text, in_batch in zip(options.texts, batch):
            alone = model(**encode([text])).logits[0]
            same = torch.equal(alone, in_batch)
            all_same = all_same and same
            label = model.config.id2label[alone.argmax().item()]
            print(f"[{'same bits' if same else f'differs by {(alone - in_batch).abs().max().item():g}'}] {label:10} {text}")
    return 0 if all_same else 1


if __name__ == "__main__":
    sys.exit(main())
