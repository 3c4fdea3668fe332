"""Hugging Face models run unchanged in strict mode: forward, backward, generation; one row alone and in a batch."""

from testing import ATTENTIONS, TestCase, lockstep, main, need, torch

need("transformers")

import transformers  # noqa: E402


def gpt2(attention):
    torch.manual_seed(5)
    config = transformers.GPT2Config(vocab_size=101, n_positions=64, n_embd=48, n_layer=2, n_head=3, bos_token_id=0,
                                     eos_token_id=0, pad_token_id=0, attn_implementation=attention)
    return transformers.GPT2LMHeadModel(config)


def distilbert(attention):
    torch.manual_seed(6)
    config = transformers.DistilBertConfig(vocab_size=101, max_position_embeddings=64, dim=48, hidden_dim=96, n_layers=2,
                                           n_heads=3, num_labels=4, attn_implementation=attention)
    return transformers.DistilBertForSequenceClassification(config)


def tokens(rows=6, length=17):
    torch.manual_seed(7)
    return torch.randint(1, 101, (rows, length))


def padded(ids):
    """Lengths that differ, padded on the right."""
    mask = torch.ones_like(ids)
    for row in range(ids.size(0)):
        mask[row, ids.size(1) - row:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def gradients(model, **inputs):
    model.zero_grad()
    with lockstep.invariant_mode():
        loss = model(**inputs).loss
        loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def for_each_model(test):
    def run(self):
        for attention in ATTENTIONS:
            for make, inputs in ((gpt2, {"input_ids": tokens()}), (distilbert, padded(tokens()))):
                with self.subTest(model=make.__name__, attention=attention):
                    test(self, make(attention), inputs)
    return run


def labels_of(model, inputs):
    return inputs["input_ids"] if isinstance(model, transformers.GPT2LMHeadModel) else torch.arange(6) % 4


class Models(TestCase):
    @for_each_model
    def test_a_row_does_not_see_its_neighbours(self, model, inputs):
        model.eval()
        with torch.no_grad(), lockstep.invariant_mode():
            batch = model(**inputs).logits
            for row in range(batch.size(0)):
                one = model(**{name: value[row:row + 1] for name, value in inputs.items()}).logits
                self.assert_same_bits(one[0], batch[row], f"row {row}")

    @for_each_model
    def test_values_are_those_of_torch(self, model, inputs):
        model.eval()
        with torch.no_grad():
            expected = model(**inputs).logits
            with lockstep.invariant_mode():
                torch.testing.assert_close(model(**inputs).logits, expected, rtol=1e-5, atol=1e-5)

    @for_each_model
    def test_gradients_are_those_of_torch_for_any_number_of_threads(self, model, inputs):
        model.eval()  # torch draws dropout by position
        labels = labels_of(model, inputs)
        loss, ours = gradients(model, **inputs, labels=labels)
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            again, same = gradients(model, **inputs, labels=labels)
        finally:
            torch.set_num_threads(threads)
        self.assert_same_bits(loss, again)
        model.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        for name, p in model.named_parameters():
            self.assert_same_bits(ours[name], same[name], name)
            torch.testing.assert_close(ours[name], p.grad, rtol=1e-4, atol=1e-6, msg=name)

    @for_each_model
    def test_training_mode_with_dropout_repeats_with_the_seed(self, model, inputs):
        model.train()
        labels = labels_of(model, inputs)
        runs = []
        for _ in range(2):
            torch.manual_seed(11)
            runs.append(gradients(model, **inputs, labels=labels))
        self.assert_same_bits(runs[0][0], runs[1][0])
        for name, gradient in runs[0][1].items():
            self.assert_same_bits(gradient, runs[1][1][name], name)

    def test_gpt2_generates_the_same_tokens_alone_and_in_a_batch(self):
        for attention in ATTENTIONS:
            model, ids = gpt2(attention).eval(), tokens(rows=4, length=5)
            with torch.no_grad(), lockstep.invariant_mode():
                batch = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False)
                for row in range(4):
                    one = model.generate(ids[row:row + 1], attention_mask=torch.ones(1, 5, dtype=torch.long),
                                         max_new_tokens=9, do_sample=False)
                    self.assertEqual(one[0].tolist(), batch[row, :one.size(1)].tolist())

    def test_gpt2_in_micro_batches(self):
        """Its position ids are shared by all samples: [1, T]."""
        model, ids = gpt2("eager").eval(), tokens()
        loss, expected = gradients(model, input_ids=ids, labels=ids)
        accumulator = lockstep.GradientAccumulator(model)
        for cuts in ([1] * 6, [4, 2]):
            model.zero_grad()
            with lockstep.invariant_mode():
                accumulator.begin(6)
                first = 0
                for samples in cuts:
                    part = slice(first, first + samples)
                    with accumulator.micro_batch(first, samples):
                        model(input_ids=ids[part], labels=ids[part]).loss.backward()
                    first += samples
                self.assertEqual(accumulator.finish(), loss.item())
            for name, p in model.named_parameters():
                self.assert_same_bits(p.grad, expected[name], f"{name}, {cuts}")


if __name__ == "__main__":
    main()
