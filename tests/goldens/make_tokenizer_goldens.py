#!/usr/bin/env python3
"""Writes tests/goldens/tokenizer/: small tokenizers of every form we read, and what the reference
packages make of difficult text with them.

There is no model hub where this runs, so each form (GPT-2, Llama 3, Qwen2, Llama 2, Mistral, a mix
of everything else, a SentencePiece model) is trained here on models/heldout.txt and some snippets
in other scripts. Reference: the `tokenizers` and `sentencepiece` packages as pinned in
baseline/requirements.txt. The trainers break ties at random: run again, it writes other tokenizers
that serve as well, with the cases that belong to them.

usage: python tests/goldens/make_tokenizer_goldens.py
"""
import json
import pathlib
import random
import struct

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "goldens" / "tokenizer"
HELDOUT = (ROOT / "models" / "heldout.txt").read_text(encoding="utf-8")
TRAINING_CHARS = 120_000

GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT4O_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

SNIPPETS = [
    "Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis.",
    "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "我能吞下玻璃而不伤身体。天地玄黄，宇宙洪荒。",
    "いろはにほへと ちりぬるを、ワカヨタレソ ツネナラム。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה.",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश।",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň. Đồng bào Việt Nam.",
    "for (int i = 0; i < 10; ++i) {\n\treturn x[i] != 3.14e-10;\r\n}\n",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇫🇷 ❤️ ☃ ∑ ≠ → € £ ½ ² Ⅷ ①",
]

# Texts that have broken tokenizers: spaces, newlines, marks, joiners, controls, rare characters.
FIXED_CASES = [
    "", " ", "  ", "   ", "\n", "\r\n", "\t", "\n\n\n", " \n ", "  \n\n  \r\n x", "a", " a", "a ",
    "  a  b   c    ", "Hello world", "Hello, world! It's 1234567 o'clock.", "\0", "a\0b\0\0c",
    "don't DON'T I'm I'LL we'Re 'S 's 'ſ ſ' 'K she'D'VE'll''s", "'", "''", "'x", "x'", "'r 're",
    "1", "12", "123", "1234", "12345", "３４５６", "٣٤٥٦٧", "१२३४", "Ⅷ②½²³¹", "1a2b", " 1", "  12",
    "tabs\tand\vvertical\fform\x1c\x1d\x1e\x1f\x85next\xa0nbsp\u1680ogham\u180emvs",
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000x",
    "zero\u200bwidth\u200cnon\u200djoin\u2060\ufeffbom", "\ufeff", "\x7f\x80\x9f\xad",
    "e\u0301 é n\u0303ñ A\u030aÅ \u212b \u1e9b\u0323 q\u0307\u0323 q\u0323\u0307",
    "\u0301start", "a" + "\u0301" * 40, "\u0344 \u0374 \u037e \u0387 \u0958 \ufb1d \u2adc",
    "한국어 \u1112\u1161\u11ab\u1100\u116e\u11a8 \uac00\u11a8 \u1100\u1161\u0301\u11a8",
    "ﬁ ﬀ ﬆ ß ẞ İ ı ǅ ǆ Σς ŉ ℵ Ω K ½ ① ㍿ ﷺ ｶﾞ ㈱",
    "👩‍👩‍👧‍👦", "🏳️‍🌈🏴‍☠️", "👍🏽👍🏿", "🇫🇷🇩🇪🇯🇵", "❤️❤", "1️⃣#️⃣", "😀" * 12, "\U000e0067\U000e0062",
    "مرحبا بالعالم\u200f \u202bשלום\u202c עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก", "ကမ္ဘာ", "བོད་ཡིག",
    "漢字かなカナ交じり文。「引用」、１２３４５", "汉字漢字𠀀𪜀𫝀𮯰𰀀", "𝐌𝐚𝐭𝐡 𝟘𝟙𝟚 𝒜ℬ", "\u0378\u0379\u038b unassigned \U000e0000 \U0002ebf0",
    "\ue000private\uf8ff \U000f0000\U0010ffff", "\ufdd0\ufffe\uffff\U0001fffe noncharacters",
    "\ufffd�", "a\r\nb\rc\nd\n\re\r\r\nf", "x\n y\n  z\n\n   w\n", "  \r\n\t \n\u3000\n x",
    "!!!???...---", "...\n\n\n...", " !\n!\r\n", "a.b,c;d:e", "(a)[b]{c}<d>", "https://example.org/a?b=c&d=%20#e",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "A" * 100, "a" * 400, " " * 300,
    "\n" * 200, "ab" * 100, "é" * 60, "\u3000" * 50, "=" * 257, " a" * 40, "1" * 50,
    "▁", "▁▁a ▁b", "a▁b", "<0x41>", "<0xE2><0x82><0xAC>", "Ġthe Ċ", "<s>", "</s><s> <unk>",
    "<|begin_of_text|>", "a<|begin_of_text|>b <|end_of_text|>", "<|eot_id|><|eot_id|>", "<|eot_id",
    "<|endoftext|> x<|endoftext|>y", "<tool_call>\n{\"a\": 1}\n</tool_call>", "<|im_start|>user\nhi<|im_end|>\n",
]

# Every way to declare an added token, for the form that has them all.
MIXED_ADDED = [
    AddedToken("<unk>", special=True, normalized=False),
    AddedToken("<left>", special=True, normalized=False, lstrip=True),
    AddedToken("<right>", special=True, normalized=False, rstrip=True),
    AddedToken("<both>", special=False, normalized=False, lstrip=True, rstrip=True),
    AddedToken("word", special=False, normalized=False, single_word=True),
    AddedToken("Norm Token", special=False, normalized=True),
    AddedToken("norm token long", special=False, normalized=True, rstrip=True),
    AddedToken("<a>", special=False, normalized=False),
    AddedToken("<a><b>", special=True, normalized=False),
    AddedToken("  ", special=False, normalized=False),
]
MIXED_CASES = [
    "x <left> y", "x  \n<left><left>  y", "x <right> \u3000 y", "x <both> y <both><both> z",
    "word", "a word b", "sword words word", "wordword word_ _word word1 (word) é word\u0301 word",
    "norm token", "NORM TOKEN", "Norm Token Long  x", "norm token longer", "a norm  token b",
    "<a><b>", "<a> <b>", "<a><a><b><b>", "<a", "<a><", "x  y   z    w", "<right>  <left>", "<both>   <both>",
    " word ", "  word  ", "\u200dword", "word\u200d", "<left>word<right>word", "<unk> x",
]


def random_text(rng, added):
    """A few dozen characters from everywhere, in runs as real text has them."""
    pools = [
        lambda: rng.choice("abcdefghijklmnopqrstuvwxyz"), lambda: rng.choice("ABCDEFGHIJKLMNOPQ"),
        lambda: rng.choice("0123456789"), lambda: rng.choice(" \t\n\r\v\f\xa0\u2003\u3000\x85"),
        lambda: rng.choice(" "), lambda: rng.choice(".,;:!?'\"()[]{}<>@#$%^&*-_=+/\\|~`"),
        lambda: chr(rng.randrange(0x80, 0x250)), lambda: chr(rng.randrange(0x300, 0x370)),
        lambda: chr(rng.randrange(0x370, 0x1000)), lambda: chr(rng.randrange(0x1000, 0x3000)),
        lambda: chr(rng.randrange(0x4e00, 0xa000)), lambda: chr(rng.randrange(0xa000, 0xd800)),
        lambda: chr(rng.randrange(0x1f300, 0x1fb00)), lambda: chr(rng.randrange(0x10000, 0x110000)),
        lambda: rng.choice("\u200b\u200c\u200d\ufe0f\u202e\u2066\xad\ufeff\0\x1b"),
        lambda: rng.choice(["'s", "'LL", "don't", " the", "▁", "ing", "\r\n", "ſ", "K"]),
        lambda: rng.choice(SNIPPETS)[rng.randrange(40):][:rng.randrange(12)],
        lambda: rng.choice(added) if added else "<s>",
    ]
    text = ""
    for _ in range(rng.randrange(1, 14)):
        pool = rng.choice(pools)
        text += "".join(pool() for _ in range(rng.randrange(1, 5)))
    return text


def corpus():
    yield HELDOUT[:TRAINING_CHARS]
    for _ in range(20):
        yield from SNIPPETS


def byte_level_trainer(vocab_size, special):
    return trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False,
                               initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def make_gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.train_from_iterator(corpus(), byte_level_trainer(1200, ["<|endoftext|>"]))
    return tokenizer


def make_llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus(), byte_level_trainer(1200, []))
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A $B",
                                      special_tokens=[("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))])])
    return tokenizer


def make_qwen2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.train_from_iterator(corpus(), byte_level_trainer(1200, []))
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False)])
    return tokenizer


def make_gpt4o():
    """The case-aware split that newer byte-level families use; it has no hand-written scanner."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(GPT4O_SPLIT), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus(), byte_level_trainer(800, ["<|endoftext|>"]))
    return tokenizer


def byte_tokens():
    return [f"<0x{byte:02X}>" for byte in range(256)]


def sentencepiece_style(normalizer, pre_tokenizer, vocab_size):
    """Trains on whole lines with spaces as U+2581, as SentencePiece does, then adds the bytes."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator((line for text in corpus() for line in text.split("\n")), trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens(), show_progress=False,
        limit_alphabet=160))
    model = json.loads(trained.to_str())["model"]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]],
                                     unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ["<unk>", "<s>", "</s>"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def make_llama2():
    return sentencepiece_style(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
                               None, 1400)


def make_mistral():
    return sentencepiece_style(None, pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False),
                               1000)


def make_mixed():
    """What no single family has: the remaining normalizers, behaviours and options."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="@"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Replace(Regex(r"\s{2,}"), "  "), normalizers.NFKC(), normalizers.Lowercase(),
        normalizers.Strip(left=True, right=False)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[,;]+"), "merged_with_previous"),
        pre_tokenizers.Split("-", "merged_with_next"), pre_tokenizers.Split(Regex(r"[!?]"), "contiguous"),
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Metaspace(prepend_scheme="always")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("@", ""), decoders.Replace(Regex("^##"), ""),
                                           decoders.Strip("x", 1, 0), decoders.Metaspace(prepend_scheme="always")])
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>"], show_progress=False, limit_alphabet=90,
        continuing_subword_prefix="##", end_of_word_suffix="@"))
    for token in MIXED_ADDED:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    return tokenizer


def make_words():
    """NFD and the Whitespace pre-tokenizer; no decoder, no byte fallback, unknown characters fused."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    tokenizer.normalizer = normalizers.NFD()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=False)])
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=500, special_tokens=["[UNK]", "[CLS]"], show_progress=False, limit_alphabet=120))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [CLS]", pair="[CLS] $A $B", special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]"))])
    return tokenizer


def fnv1a(ids):
    state = 0xcbf29ce484222325
    for byte in b"".join(struct.pack("<i", i) for i in ids):
        state = (state ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return f"{state:016x}"


def record(ids, decode, text=None):
    """What is not written is as expected: the text itself, and no special tokens in it."""
    entry = {"ids": ids} if text is None else {"text": text, "ids": ids}
    decoded, decoded_all = decode(ids, True), decode(ids, False)
    if decoded != text:
        entry["decoded"] = decoded
    if decoded_all != decoded:
        entry["decoded_all"] = decoded_all
    return entry


def write_cases(name, cases, encode, decode, vocab_size, heldout_ids):
    rng = random.Random(name)
    records = [record(encode(text, True), decode, text) for text in cases]
    decodings = []
    for _ in range(40):
        # Neighbouring ids: many byte tokens in a row, whole characters and broken ones.
        base = rng.randrange(vocab_size)
        ids = [rng.choice([rng.randrange(vocab_size), min(vocab_size - 1, base + rng.randrange(64)),
                           rng.randrange(min(vocab_size, 259))]) for _ in range(rng.randrange(1, 24))]
        decodings.append(record(ids, decode))
    golden = {"heldout_num_ids": len(heldout_ids), "heldout_fnv1a": fnv1a(heldout_ids),
              "plain": {"text": FIXED_CASES[13], "ids": encode(FIXED_CASES[13], False)},
              "cases": records, "decodings": decodings}
    (OUT / f"{name}_cases.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def write_json_form(name, tokenizer, cases, array_merges):
    data = json.loads(tokenizer.to_str())
    if not array_merges:
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    (OUT / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    write_json_cases(name, text, cases)


def write_json_cases(name, text, cases):
    reference = Tokenizer.from_str(text)
    rng = random.Random("texts of " + name)
    added = [token.content for token in reference.get_added_tokens_decoder().values()]
    cases = cases + [random_text(rng, added) for _ in range(40)]
    write_cases(name, cases, lambda text, special: reference.encode(text, add_special_tokens=special).ids,
                lambda ids, skip: reference.decode(ids, skip_special_tokens=skip),
                reference.get_vocab_size(), reference.encode(HELDOUT).ids)


def write_sentencepiece():
    folder = OUT / "sentencepiece"
    folder.mkdir(exist_ok=True)
    sentences = [line for text in corpus() for line in text.split("\n") if line.strip()]
    with open(folder / "tokenizer.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=file, vocab_size=1200, model_type="bpe", byte_fallback=True,
            character_coverage=0.99, split_digits=True, normalization_rule_name="identity", add_dummy_prefix=True,
            remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))

    def encode(text, special):  # transformers' Llama tokenizer: beginning of sequence in front
        return ([processor.bos_id()] if special else []) + processor.encode(text)

    def decode(ids, skip):
        del skip  # the library never shows control tokens
        return processor.decode(ids)

    rng = random.Random("texts of sentencepiece")
    write_cases("sentencepiece", FIXED_CASES + [random_text(rng, []) for _ in range(40)], encode, decode,
                processor.get_piece_size(), encode(HELDOUT, True))


def main():
    OUT.mkdir(exist_ok=True)
    write_json_form("gpt2", make_gpt2(), FIXED_CASES, array_merges=False)
    write_json_form("llama3", make_llama3(), FIXED_CASES, array_merges=True)
    write_json_form("qwen2", make_qwen2(), FIXED_CASES, array_merges=True)
    write_json_form("gpt4o", make_gpt4o(), FIXED_CASES, array_merges=True)
    write_json_form("llama2", make_llama2(), FIXED_CASES, array_merges=False)
    write_json_form("mistral", make_mistral(), FIXED_CASES, array_merges=True)
    write_json_form("mixed", make_mixed(), FIXED_CASES + MIXED_CASES, array_merges=True)
    write_json_form("words", make_words(), FIXED_CASES, array_merges=True)
    shipped = ROOT / "models" / "books-16m" / "tokenizer.json"
    write_json_cases("books", shipped.read_text(encoding="utf-8"), FIXED_CASES)
    write_sentencepiece()


if __name__ == "__main__":
    main()
