"""Pictures of a report, to be looked at: desktop (light, dark), its answer alone, phone, and paper as a PDF.

    python3 tests/browser/shots.py results/demo/report.html /tmp/shots
"""

import pathlib
import sys

import chromium


def main(report, folder):
    path = chromium.find()
    if path is None:
        sys.exit("no Chromium here; tools/setup.sh installs one on Debian")
    out = pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    page = chromium.Page(path)
    try:
        page.resize(1200, 900)
        print(f"opened in {page.open(report):.2f} s")
        page.screenshot(out / "desktop.png")
        page.picture_of(".hero", out / "answer.png")
        page.click("#theme")
        page.screenshot(out / "dark.png")
        page.click("#theme")
        page.resize(390, 844, mobile=True)
        page.open(report)
        page.screenshot(out / "phone.png")
        page.resize(1200, 900)
        (out / "paper.pdf").write_bytes(page.pdf())
    finally:
        page.close()
    for error in page.errors:
        print("error:", error)


if __name__ == "__main__":
    main(*sys.argv[1:3])
