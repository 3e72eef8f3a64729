"""Language models in the one training loop: what is learnt, where they are cut, and encoder-decoders too."""

import pytest
import torch

from headway.adapt import lora
from headway.backbones._language import build, open_language, tokenizer_of
from headway.engine.language import (
    IGNORED,
    Pair,
    TokenBatches,
    Writer,
    activations,
    layers_of,
    loss_of,
    shorten,
    told,
)
from headway.engine.template import Template, pair_of, source_tokens, text_of
from headway.engine.train import Schedule, train
from headway.engine.write import Limits, limits_of, write
from headway.errors import ModelError
from headway.types import ParamGroup, Tuning

FORMS = ("llama", "gpt2", "t5", "marian")


@pytest.fixture(scope="module")
def opened(toys, tmp_path_factory):
    """``opened(kind)``: the language, a fresh model and the tokenizer."""
    folders = {}

    def open_(kind):
        if kind not in folders:
            make = toys.encoder_decoder if kind in ("t5", "marian") else toys.decoder
            folders[kind] = make(tmp_path_factory.mktemp(kind), kind=kind)
        language = open_language(str(folders[kind]), cache=folders[kind], offline=True)
        return language, build(language), tokenizer_of(language)

    return open_


def _lessons(language, tokenizer, toys, n=8):
    template = Template(source="en", target="de", bare=language.encoder_decoder)
    found = toys.pairs(n)
    return template, found, [pair_of(template, tokenizer, *pair) for pair in found]


def _start(model):
    return model.config.decoder_start_token_id if model.config.is_encoder_decoder else None


@pytest.mark.parametrize("kind", FORMS)
def test_the_loss_is_transformers_own_over_target_tokens(opened, toys, kind):
    language, model, tokenizer = opened(kind)
    _, _, pairs = _lessons(language, tokenizer, toys)
    data = TokenBatches(pairs=pairs, size=8, seed=0, start=_start(model))
    x, y = next(data.epoch(1))
    writer = Writer(model)
    tokens = sum(len(pair.target) for pair in pairs) / len(pairs)
    with torch.no_grad():
        ours = loss_of(writer, model, tokens=tokens)(writer(x), y)
    total = 0.0
    for pair in pairs:  # one by one, so that no padding can matter
        if language.encoder_decoder:
            named = {"input_ids": torch.tensor([pair.source]), "labels": torch.tensor([pair.target])}
        else:
            whole = torch.tensor([[*pair.source, *pair.target]])
            named = {"input_ids": whole, "labels": whole.clone()}
            named["labels"][:, : len(pair.source)] = IGNORED
        with torch.no_grad():
            total += model(**named).loss.item() * len(pair.target)
    assert ours.item() == pytest.approx(total / sum(len(pair.target) for pair in pairs), rel=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_nothing_is_learnt_from_prompts_and_padding(opened, toys, kind):
    language, model, tokenizer = opened(kind)
    _, _, pairs = _lessons(language, tokenizer, toys)
    x, y = next(TokenBatches(pairs=pairs, size=8, seed=0).epoch(1))
    writer = Writer(model)
    scores = writer(x).detach().requires_grad_(True)
    loss_of(writer, model, tokens=5.0)(scores, y).backward()
    silent = scores.grad.abs().sum(-1) == 0
    assert torch.equal(silent, y == IGNORED) and silent.any() and not silent.all()
    assert int((y != IGNORED).sum()) == sum(len(pair.target) for pair in pairs)
    for row in range(len(y)):  # the targets are what follows: prompt, then target, one token on
        said = y[row][y[row] != IGNORED].tolist()
        assert any(tuple(said) == pair.target for pair in pairs)


def test_the_loss_of_a_batch_is_that_of_its_parts(opened, toys):
    language, model, tokenizer = opened("llama")
    _, _, pairs = _lessons(language, tokenizer, toys)
    x, y = next(TokenBatches(pairs=pairs, size=8, seed=0).epoch(1))
    writer = Writer(model)
    loss = loss_of(writer, model, tokens=7.0)
    with torch.no_grad():
        parts = [loss(writer(x[k : k + 2]), y[k : k + 2]) for k in range(0, 8, 2)]
        assert loss(writer(x), y).item() == pytest.approx(sum(parts).item() / 4, rel=1e-5)


@pytest.mark.parametrize("cut", [1, 2])
def test_a_decoder_cut_in_two_says_the_same_and_comes_back(opened, toys, cut):
    language, model, tokenizer = opened("llama")
    _, _, pairs = _lessons(language, tokenizer, toys)
    writer = Writer(model)
    whole_names = [name for name, _ in writer.named_parameters()]
    plain = TokenBatches(pairs=pairs, size=4, seed=0)
    cached = TokenBatches(pairs=pairs, size=4, seed=0, cached=activations(writer, cut, [told(pair) for pair in pairs]))
    with torch.no_grad():
        whole = [(writer(x), y) for x, y in plain.epoch(1)]
        back = shorten(writer, cut)
        assert len(list(writer.parameters())) < len(whole_names)
        parts = [(writer(x), y) for x, y in cached.epoch(1)]
        back()
    for (a, y), (b, z) in zip(whole, parts, strict=True):
        assert torch.equal(y, z)
        torch.testing.assert_close(a[y != IGNORED], b[z != IGNORED], rtol=1e-4, atol=1e-5)
    assert [name for name, _ in writer.named_parameters()] == whole_names


def test_a_model_that_adds_positions_to_its_inputs_is_not_cut(opened):
    _, model, _ = opened("gpt2")
    writer = Writer(model)
    assert layers_of(writer) is None
    with pytest.raises(ModelError, match="cannot be cut"):
        shorten(writer, 1)


@pytest.mark.parametrize("kind", FORMS)
def test_eight_pairs_are_learnt_by_heart_and_written_without_the_prompt(opened, toys, kind):
    language, model, tokenizer = opened(kind)
    template, found, pairs = _lessons(language, tokenizer, toys)
    writer = Writer(model)
    data = TokenBatches(pairs=pairs, size=8, seed=0, start=_start(model))
    everything = ParamGroup(names=tuple(name for name, _ in writer.named_parameters()))
    tokens = sum(len(pair.target) for pair in pairs) / len(pairs)
    trained = train(
        Tuning(model=writer, groups=(everything,)),
        batches=data,
        loss=loss_of(writer, model, tokens=tokens),
        schedule=Schedule(epochs=250, lr=1e-2, weight_decay=0.0, precision="f32"),
        seed=0,
    )
    assert trained.epochs[-1].train_loss < 0.05 < trained.epochs[1].train_loss
    said = write(
        model,
        [source_tokens(template, tokenizer, source) for source, _ in found],
        limits=[60] * 8,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        beams=2,
    )
    answers = [text_of(template, tokenizer, t) for t in said.tokens]
    assert answers == [target for _, target in found]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_lora_trains_little_and_merges_into_the_models_own_layers(opened, toys, kind):
    language, model, tokenizer = opened(kind)
    _, _, pairs = _lessons(language, tokenizer, toys)
    writer = Writer(model)
    names = [name for name, _ in model.named_parameters()]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    data = TokenBatches(pairs=pairs, size=4, seed=0, start=_start(model))
    loss = loss_of(writer, model, tokens=10.0)
    tuning = lora.METHOD.tune(writer, sample=lambda: data.epoch(0), loss=loss, seed=0)
    trained = train(tuning, batches=data, loss=loss, schedule=Schedule(epochs=3, precision="f32"), seed=0)
    assert [name for name, _ in model.named_parameters()] == names
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved and all(p.endswith(".weight") and before[p].ndim == 2 for p in moved)
    assert not any("embed" in name or "shared" in name or "lm_head" in name for name in moved)
    assert trained.trainable < sum(p.numel() for p in model.parameters()) / 2


def test_limits_hold_and_banned_tokens_are_never_written(opened, toys):
    language, model, tokenizer = opened("llama")
    template, found, _ = _lessons(language, tokenizer, toys)
    prompts = [source_tokens(template, tokenizer, source) for source, _ in found]
    limits = [3, 5, 7, 9, 3, 5, 7, 9]
    options = {"limits": limits, "end": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    free = write(model, prompts, **options)
    assert all(len(tokens) <= limit for tokens, limit in zip(free.tokens, limits, strict=True))
    most = max((t for tokens in free.tokens for t in tokens), key=[t for ts in free.tokens for t in ts].count)
    held = write(model, prompts, banned=[most], **options)
    assert not any(most in tokens for tokens in held.tokens)


def test_an_answer_does_not_depend_on_its_company(opened, toys):
    language, model, tokenizer = opened("llama")
    template, found, _ = _lessons(language, tokenizer, toys)
    prompts = [source_tokens(template, tokenizer, source) for source, _ in found]
    options = {"end": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    together = write(model, prompts, limits=[6] * 8, **options).tokens
    alone = tuple(write(model, [prompt], limits=[6], **options).tokens[0] for prompt in prompts)
    assert together == alone


def test_lengths_are_learnt_from_pairs():
    assert limits_of([10] * 50, [20] * 50) == Limits(slope=2.0, offset=8, most=30)
    assert limits_of([10] * 50, [20] * 50).of(1000) == 30


def test_every_pair_is_in_every_epoch_once():
    pairs = [Pair(source=(5,) * (1 + k % 7), target=(6 + k, 1)) for k in range(50)]
    data = TokenBatches(pairs=pairs, size=8, seed=3)
    for number in (0, 1, 2):
        batches = list(data.epoch(number))
        assert len(batches) == len(data) == 7
        said = sorted(int(row[row != IGNORED][0]) for _, y in batches for row in y)
        assert said == list(range(6, 56))
    firsts = [next(data.epoch(number))[1].tolist() for number in (1, 2)]
    assert firsts[0] != firsts[1]
    assert next(data.epoch(1))[1].tolist() == firsts[0]


def test_a_long_source_loses_its_end_and_keeps_its_frame(opened):
    _, _, tokenizer = opened("llama")
    template = Template(source="en", target="de", most=20)
    text = tokenizer.decode(source_tokens(template, tokenizer, "x" * 1000))
    assert text == f"en: {'x' * 20}\nde:"


def test_the_models_that_are_refused(toys, tmp_path):
    from headway.errors import WeightsRefused

    empty, remote, unsafe = (tmp_path / name for name in ("empty", "remote", "unsafe"))
    for folder, config in ((empty, None), (remote, '{"auto_map": {"AutoModel": "x.Y"}}'), (unsafe, "{}")):
        folder.mkdir()
        if config:
            (folder / "config.json").write_text(config)
    (unsafe / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    for folder, error, words in (
        (empty, ModelError, "no model"),
        (remote, WeightsRefused, "code of its own"),
        (unsafe, WeightsRefused, "no safetensors"),
    ):
        with pytest.raises(error, match=words):
            open_language(str(folder), cache=tmp_path, offline=True)
    whole = toys.decoder(tmp_path / "whole")
    (whole / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot be read"):
        build(open_language(f"transformers:{whole}", cache=tmp_path, offline=True))
