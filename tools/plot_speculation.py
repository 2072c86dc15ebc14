#!/usr/bin/env python3
"""Draws measured against predicted speed-up of speculation as an SVG: one point per row of speculation_bench's tables.

    build/speculation_bench prediction --streams 1,4 > table.md; tools/plot_speculation.py table.md... > docs/speculation.svg
"""
import sys

SIZE, MARGIN, LOW = 460, 56, 0.6


def rows_of(paths):
    for path in paths:
        for line in open(path):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if len(cells) != 10 or cells[0] in ("workload", "---") or cells[2] == "none":
                continue
            low, high = (float(value) for value in cells[5].split(" to "))
            yield {"workload": cells[0], "streams": int(cells[1]), "draft": cells[2], "measured": float(cells[4]), "low": low,
                   "high": high, "predicted": float(cells[6])}


def main():
    rows = list(rows_of(sys.argv[1:]))
    if not rows:
        sys.exit("plot_speculation.py: no row of a speculation_bench table in " + " ".join(sys.argv[1:]))
    top = max(max(row["high"], row["predicted"]) for row in rows) * 1.05

    def x(value):
        return MARGIN + (value - LOW) / (top - LOW) * (SIZE - 2 * MARGIN)

    def y(value):
        return SIZE - MARGIN - (value - LOW) / (top - LOW) * (SIZE - 2 * MARGIN)

    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif" font-size="12">')
    print(f'<rect width="{SIZE}" height="{SIZE}" fill="white"/>')
    tick = 1.0
    step = 0.5 if top < 4 else 1.0
    while tick <= top:
        print(f'<path d="M{x(tick):.1f} {y(LOW):.1f}V{y(top):.1f}M{x(LOW):.1f} {y(tick):.1f}H{x(top):.1f}" stroke="#ddd"/>')
        print(f'<text x="{x(tick):.1f}" y="{y(LOW) + 18:.1f}" text-anchor="middle">{tick:g}</text>')
        print(f'<text x="{x(LOW) - 8:.1f}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
        tick += step
    print(f'<path d="M{x(LOW):.1f} {y(LOW):.1f}L{x(top):.1f} {y(top):.1f}" stroke="#888" stroke-dasharray="4 3"/>')
    print(f'<text x="{SIZE / 2}" y="{SIZE - 14}" text-anchor="middle">predicted speed-up</text>')
    print(f'<text transform="translate(18 {SIZE / 2}) rotate(-90)" text-anchor="middle">measured speed-up</text>')
    for row in rows:
        color = "#1f6fb2" if row["workload"].startswith("SIMULATED") else "#c2571a"
        print(f'<path d="M{x(row["predicted"]):.1f} {y(row["low"]):.1f}V{y(row["high"]):.1f}" stroke="{color}" opacity="0.5"/>')
        print(f'<circle cx="{x(row["predicted"]):.1f}" cy="{y(row["measured"]):.1f}" r="4" fill="{color}" opacity="0.8">'
              f'<title>{row["workload"]}, {row["draft"]}, {row["streams"]} streams: predicted {row["predicted"]}, measured '
              f'{row["measured"]}</title></circle>')
    print(f'<text x="{MARGIN + 8}" y="{MARGIN - 24}" fill="#1f6fb2">simulated acceptance</text>')
    print(f'<text x="{MARGIN + 8}" y="{MARGIN - 8}" fill="#c2571a">the demo\'s own drafts</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
