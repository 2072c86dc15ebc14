#!/usr/bin/env python3
"""Writes tests/goldens/tokenizer/steps.json: what single normalizers and pre-tokenizers of the
`tokenizers` package make of every character there is, of random text, and of small examples.

Results on the first two are long, so their hash is written. Deterministic: run it again and
`git diff` is empty.

usage: python tests/goldens/make_tokenizer_step_goldens.py
"""
import json
import pathlib

from tokenizers import Regex, normalizers, pre_tokenizers

from make_tokenizer_goldens import GPT2_SPLIT, GPT4O_SPLIT, LLAMA3_SPLIT, QWEN2_SPLIT

OUT = pathlib.Path(__file__).resolve().parent / "tokenizer" / "steps.json"

# Where random text takes its characters from: scripts whose characters combine, spaces, symbols.
RANDOM_RANGES = [(0x09, 0x0e), (0x20, 0x7f), (0x20, 0x21), (0x27, 0x28), (0x41, 0x7b), (0x30, 0x3a), (0x80, 0x250),
                 (0x300, 0x370), (0x300, 0x330), (0x370, 0x400), (0x5d0, 0x700), (0x900, 0xe00), (0xf40, 0xfc0),
                 (0x1000, 0x10a0), (0x1100, 0x1200), (0x1161, 0x1176), (0x11a8, 0x11c3), (0x1dc0, 0x2000), (0x2000, 0x2070), (0x2100, 0x2200),
                 (0x2460, 0x2500), (0x3000, 0x3100), (0x4e00, 0x4e80), (0xac00, 0xac80), (0xf900, 0xfb50),
                 (0xfb50, 0x10000), (0x10000, 0x11f00), (0x1d100, 0x1d800), (0x1e000, 0x1fb00), (0x2f800, 0x2fa20)]
RANDOM_CHARACTERS = 200_000

SETS = [r"\s", r"\S", r"\w", r"\W", r"\d", r"\D", r"\h", r"\p{L}", r"\p{N}", r"\p{P}", r"\p{S}", r"\p{M}", r"\p{Z}",
        r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{Mn}", r"\p{Nd}", r"\p{Nl}", r"\p{No}", r"\p{Cc}",
        r"\p{Cf}", r"\p{Co}", r"\P{L}", r"\p{^N}", r"\p{Han}", r"\p{Hiragana}", r"\p{Katakana}", r"\p{Hangul}",
        r"\p{Thai}", r"\p{Greek}", r"\p{Hebrew}", r"\p{Armenian}", r"\p{Mc}", r"\p{Me}", r"\p{Pc}", r"\p{Sm}", r"[\w]",
        r"[\W]", r"[^\d]", r"[^\s\p{L}\p{N}]", r"[^\r\n\p{L}\p{N}]", r"[\p{L}\p{M}]", r"[\S]", r"[^\W_]", r"[a-z\d]", r".",
        r"[一-龥぀-ゟ]", r"[\x{10000}-\x{1ffff}]", r"(?i:k)", r"(?i:s)"]

EXAMPLES = [
    (["a+", "b*", "a|b", "^a", "a$", r"\Aa", r"b\z", "(?=a)", "(?!a)b", "(?<=a)b", "(?>a+)b", "a??b", "(a)(b)?", "a{2}",
      "a{2,}", "a{,2}b", "a{x", "(?i:B)", "b*?", "a*+b", "[ab]", "[^a]", "[a-]", r"a\nb", r"\x61", r"\u0062", r"\Z", "a.b"],
     "aabba\nab a{x\nBb a-b\n"),
    ([r"\s+$", r"\s+(?!\S)|\s+", r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", r"(?<!\w)\w", r" ?\p{L}+"],
     "it's  I'LL  123456 x\n\n  y  "),
]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
BEHAVIOR_TEXTS = ["the-final--countdown", "-", "---", "-a", "a-", "--a--b", "ab"]


def fnv1a(data):
    state = 0xcbf29ce484222325
    for byte in data:
        state = (state ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return f"{state:016x}"


def all_characters():
    return [chr(c) for c in range(0x110000) if not 0xd800 <= c < 0xe000]


def random_text():
    state, characters = 1, []

    def draw(limit):
        nonlocal state
        state = (state * 1664525 + 1013904223) & 0xffffffff
        return (state >> 8) % limit

    for _ in range(RANDOM_CHARACTERS):
        first, end = RANDOM_RANGES[draw(len(RANDOM_RANGES))]
        characters.append(chr(first + draw(end - first)))
    return "".join(characters)


def declaration(part):
    return json.loads(part.__getstate__())


def pieces(part, text):
    return [piece for piece, _ in part.pre_tokenize_str(text)]


def hash_of_pieces(part, text):
    return fnv1a(b"".join(piece.encode() + b"\xff" for piece in pieces(part, text)))


def normalizer_records():
    # A line each, so that characters don't combine with each other.
    lines, mixture = "\n".join(all_characters()), random_text()
    for part in [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase()]:
        yield {"normalizer": declaration(part), "lines": fnv1a(part.normalize_str(lines).encode()),
               "random": fnv1a(part.normalize_str(mixture).encode())}


def pre_tokenizer_records():
    characters, mixture = "".join(all_characters()), random_text()
    parts = [pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=False),
             pre_tokenizers.Digits(individual_digits=True)]
    parts += [pre_tokenizers.Split(Regex(pattern), "isolated")
              for pattern in [GPT2_SPLIT, LLAMA3_SPLIT, QWEN2_SPLIT, GPT4O_SPLIT, r"\w+|[^\w\s]+"]]
    parts += [pre_tokenizers.Split(Regex(f"{one}+"), "removed", invert=True) for one in SETS]
    for part in parts:
        yield {"pre_tokenizer": declaration(part), "characters": hash_of_pieces(part, characters),
               "random": hash_of_pieces(part, mixture)}


def example_records():
    for patterns, text in EXAMPLES:
        for pattern in patterns:
            part = pre_tokenizers.Split(Regex(pattern), "isolated")
            yield {"pre_tokenizer": declaration(part), "text": text, "pieces": pieces(part, text)}
    for behavior in BEHAVIORS:
        for invert in [False, True]:
            part = pre_tokenizers.Split("-", behavior, invert=invert)
            for text in BEHAVIOR_TEXTS:
                yield {"pre_tokenizer": declaration(part), "text": text, "pieces": pieces(part, text)}
    for scheme in ["first", "always", "never"]:
        for split in [False, True]:
            part = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
            for text in ["a b", " a", "  a  b ", "▁a", " "]:
                yield {"pre_tokenizer": declaration(part), "text": text, "pieces": pieces(part, text)}


def main():
    golden = {"random_ranges": RANDOM_RANGES, "random_characters": RANDOM_CHARACTERS,
              "normalizers": list(normalizer_records()), "pre_tokenizers": list(pre_tokenizer_records()),
              "examples": list(example_records())}
    OUT.write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
