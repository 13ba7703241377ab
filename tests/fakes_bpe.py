"""A tiny tokenizer of the real kind: byte-level BPE with special tokens and a chat template."""

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from mainspring.tokenizer.base import Tokenizer

CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}"
    "{% for turn in messages %}"
    "{{ '<|im_start|>' + turn['role'] + '\n' + turn['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer(template: str = CHATML, more: tuple[str, ...] = (), lacks: str = "") -> Tokenizer:
    """A byte-level tokenizer of 288 ids: three special tokens and `more`, all bytes but `lacks`, some merges."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=288,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", *more],
        initial_alphabet=sorted(set(pre_tokenizers.ByteLevel.alphabet()).difference(lacks)),
        show_progress=False,
    )
    backend.train_from_iterator(["the owner of the spring winds it and the wheels turn\n\n\n"] * 4, trainer)
    return Tokenizer(backend, bos="<|im_start|>", eos="<|im_end|>", chat_template=template, max_length=256)


def sentencepiece(*names):
    """A tokenizer of Llama's kind: a space before every text, `<s>` before every prompt."""
    pieces = ["<unk>", "<s>", "</s>", *names, "\u2581", "☺", *"abc", "\u2581a", "bc", "\u2581bc"]
    merges = [("\u2581", "a"), ("b", "c"), ("\u2581", "bc")]
    vocab = {piece: place for place, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<s>", "</s>", *names])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return Tokenizer(backend, bos="<s>", eos="</s>")
