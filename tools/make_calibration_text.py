#!/usr/bin/env python3
"""Writes models/calibration.txt, the text that `iol build --calibration` reads by default in the examples.

Two books in the public domain, as Debian packages carry them for tests (the texts are Project Gutenberg's, without its notices):
Mark Twain, The Adventures of Tom Sawyer (1876), from golang-github-klauspost-compress-dev;
Isaac Newton, Opticks (4th edition, 1730), from golang-1.19-src.
Lines are joined to paragraphs, which is the form of models/heldout.txt; neither book is part of it.

  apt-get download golang-github-klauspost-compress-dev golang-1.19-src
  for package in golang-*.deb; do dpkg-deb -x $package unpacked; done
  tools/make_calibration_text.py unpacked models/calibration.txt
"""
import pathlib
import re
import sys

BOOKS = (  # path, where the book begins, characters
    ("usr/share/gocode/src/github.com/klauspost/compress/testdata/Mark.Twain-Tom.Sawyer.txt", "MOST of the adventures", 180_000),
    ("usr/share/go-1.19/src/testdata/Isaac.Newton-Opticks.txt", "My Design in this Book", 60_000),
)
RUN = 50  # characters that it must not share with the held-out text


def paragraphs(text):
    for block in re.split(r"\n\s*\n", text):
        line = " ".join(block.split())
        if line:
            yield line


def excerpt(path, start, num_characters):
    text = path.read_text(encoding="utf-8")
    lines, size = [], 0
    for line in paragraphs(text[text.index(start):]):
        lines.append(line)
        size += len(line) + 1
        if size >= num_characters:
            break
    return "\n".join(lines) + "\n"


def main():
    root, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    text = "".join(excerpt(root / path, start, count) for path, start, count in BOOKS)
    heldout = (pathlib.Path(__file__).resolve().parent.parent / "models" / "heldout.txt").read_text(encoding="utf-8")
    runs = {heldout[i:i + RUN] for i in range(len(heldout) - RUN + 1)}
    shared = [i for i in range(len(text) - RUN + 1) if text[i:i + RUN] in runs]
    if shared:
        sys.exit(f"shares a run of {RUN} characters with heldout.txt: {text[shared[0]:shared[0] + RUN]!r}")
    target.write_text(text, encoding="utf-8")
    print(f"{target}: {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
