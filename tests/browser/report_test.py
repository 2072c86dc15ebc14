"""The report in a real browser: opened, clicked, printed, read as a screen reader would, on a phone.

    python3 tests/browser/report_test.py build/iol

Exits with 77 and says so where there is no Chromium (IOL_CHROMIUM names one).
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import chromium
import many_requests

HERE = pathlib.Path(__file__).parent
IOL = None  # the program, from the command line
CHROMIUM = chromium.find()
NO_CHROMIUM = 77  # ctest: skipped

# Every element whose accessible name a reader needs to know what it is.
NAMED_ROLES = {"button", "link", "img", "image", "region", "table", "heading", "columnheader", "DisclosureTriangle"}


def write_report(lines, folder):
    folder.mkdir()
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    subprocess.run([IOL, "report", folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "report.html"


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        with gzip.open(HERE / "demo-ladder.records.jsonl.gz", "rt") as stream:
            cls.lines = stream.read().splitlines()
        cls.report = write_report(cls.lines, pathlib.Path(cls.folder.name) / "demo")
        cls.page = chromium.Page(CHROMIUM)

    @classmethod
    def tearDownClass(cls):
        cls.page.close()
        cls.folder.cleanup()

    def setUp(self):
        self.page.errors.clear()
        self.page.media(prefers_reduced_motion="reduce")  # a link leads there at once
        self.page.resize(1200, 900)
        self.page.open(self.report)

    def tearDown(self):
        self.assertEqual(self.page.errors, [], "the browser's console")

    def drawn(self):
        """Of each chart: the pixels that aren't transparent."""
        return self.page.evaluate(
            "[...document.querySelectorAll('canvas')].map(c => { const d = c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data; let n = 0;"
            "for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })")

    def test_charts_are_drawn(self):
        drawn = self.drawn()
        self.assertGreaterEqual(len(drawn), 6)
        self.assertGreater(min(drawn), 1000)

    def test_a_click_on_the_theme_button_changes_every_colour_and_is_remembered(self):
        background = "getComputedStyle(document.body).backgroundColor"
        light = self.page.evaluate(background)
        self.page.click("#theme")
        dark = self.page.evaluate(background)
        self.assertNotEqual(light, dark)
        self.assertGreater(min(self.drawn()), 1000)
        self.page.open(self.report)
        self.assertEqual(self.page.evaluate(background), dark)
        self.page.click("#theme")
        self.assertEqual(self.page.evaluate(background), light)

    def test_clicks_unfold_and_fold_every_detail(self):
        folds = self.page.evaluate("document.querySelectorAll('summary').length")
        self.assertGreaterEqual(folds, 4)
        is_open = "document.querySelectorAll('details')[{}].open"
        for i in range(folds):
            self.page.click("summary", i)
            self.assertTrue(self.page.evaluate(is_open.format(i)), i)
            height = self.page.evaluate(f"document.querySelectorAll('details table')[{i}].offsetHeight")
            self.assertGreater(height, 50)
            self.page.click("summary", i)
            self.assertFalse(self.page.evaluate(is_open.format(i)), i)

    def test_a_click_in_a_legend_hides_that_subject_and_another_brings_it_back(self):
        found = self.page.evaluate(
            "(() => { for (const [i, c] of [...document.querySelectorAll('canvas')].entries()) {"
            "const chart = Chart.getChart(c); const box = chart.legend.legendHitBoxes;"
            "if (chart.legend.options.display && box.length > 1)"
            "return [i, box[0].left + box[0].width / 2, box[0].top + box[0].height / 2]; } })()")
        index, x, y = found
        visible = f"Chart.getChart(document.querySelectorAll('canvas')[{index}]).isDatasetVisible(0)"
        self.assertTrue(self.page.evaluate(visible))
        self.page.click("canvas", index, x, y)
        self.assertFalse(self.page.evaluate(visible))
        self.page.click("canvas", index, x, y)
        self.assertTrue(self.page.evaluate(visible))

    def test_a_click_on_a_figure_leads_to_its_records(self):
        self.page.click("table.headline a.v")
        row = "document.querySelector(':target')"
        self.assertTrue(self.page.evaluate(f"{row}.getBoundingClientRect().top < innerHeight"))
        subject, requests, _, lines, command = self.page.evaluate(
            f"[...{row}.children].map(c => (c.querySelector('.v') || c).textContent)")
        first, last = (int(n.replace(",", "")) for n in lines.split(" to "))
        for line in (self.lines[first - 1], self.lines[last - 1]):
            metadata = json.loads(line)["metadata"]
            self.assertIn(f'.metadata.subject=="{metadata["subject"]}"', command)
            self.assertIn(f'.metadata.scenario=="{metadata["scenario"]}"', command)
        inside = [json.loads(line) for line in self.lines[first - 1:last]]
        found = [r for r in inside if r["record_type"] == "request" and r["metadata"]["phase"] == "measure"
                 and all(r["metadata"][k] == metadata[k] for k in ("subject", "scenario", "concurrency"))]
        self.assertEqual(len(found), int(requests.replace(",", "")))

    def test_every_link_leads_somewhere_on_the_page(self):
        dead = self.page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))"
            ".filter(h => !document.getElementById(decodeURIComponent(h.slice(1))))")
        self.assertEqual(dead, [])

    def test_a_keyboard_reaches_the_button_and_the_folds(self):
        self.page.press("Tab")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "theme")
        theme = self.page.evaluate("document.documentElement.dataset.theme")
        self.page.press("Enter")
        self.assertNotEqual(self.page.evaluate("document.documentElement.dataset.theme"), theme)
        self.page.press("Enter")
        for _ in range(200):
            self.page.press("Tab")
            if self.page.evaluate("document.activeElement.tagName") == "SUMMARY":
                return
        self.fail("no fold was reached")

    def test_what_a_screen_reader_meets_has_a_name(self):
        self.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        unnamed = []
        roles = {}
        for node in self.page.accessibility_tree():
            role = node.get("role", {}).get("value")
            if node.get("ignored") or role not in NAMED_ROLES:
                continue
            roles[role] = roles.get(role, 0) + 1
            if not node.get("name", {}).get("value", "").strip():
                unnamed.append(node)
        self.assertEqual(unnamed, [])
        for role in ("button", "table", "columnheader", "heading"):
            self.assertGreater(roles.get(role, 0), 0, roles)
        self.assertEqual(self.page.evaluate("document.documentElement.lang"), "en")
        self.assertEqual(self.page.evaluate("document.querySelectorAll('h1').length"), 1)

    def test_every_chart_has_its_numbers_in_words(self):
        charts = self.page.evaluate(
            "[...document.querySelectorAll('canvas')].map(c => c.getAttribute('aria-label'))")
        for description in charts:
            self.assertRegex(description, r"\d")
        self.assertEqual(len(charts), self.page.evaluate("Object.keys(Chart.instances).length"))

    def test_nothing_but_tables_is_wider_than_a_phone(self):
        self.page.resize(360, 800, mobile=True)
        self.page.open(self.report)
        self.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        self.assertEqual(self.page.evaluate("document.documentElement.scrollWidth"), 360)
        wide = self.page.evaluate(
            "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 361"
            "&& !e.closest('.scroll, pre, .sr') && getComputedStyle(e).position !== 'absolute')"
            ".map(e => e.outerHTML.slice(0, 80))")
        self.assertEqual(wide, [])

    def test_paper_is_light_unfolded_and_complete(self):
        self.page.click("#theme")  # dark on the screen
        pdf = self.page.pdf()
        self.assertTrue(pdf.startswith(b"%PDF"))
        pages = pdf.count(b"/Type /Page\n") or pdf.count(b"/Type/Page/") or pdf.count(b"/Type /Page ")
        self.assertGreater(pages, 2)
        self.page.click("#theme")
        self.page.media(media="print")
        self.assertEqual(self.page.evaluate("getComputedStyle(document.querySelector('#theme')).display"), "none")
        self.assertEqual(self.page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")

    def test_colour_alone_tells_nothing(self):
        # Lines of different subjects differ in dash or point, bars are labelled.
        alike = self.page.evaluate(
            "Object.values(Chart.instances).filter(c => c.config.type === 'line' && c.data.datasets.length > 1)"
            ".filter(c => new Set(c.data.datasets.map(d => JSON.stringify([d.borderDash, d.pointStyle]))).size"
            " < Math.min(8, c.data.datasets.length)).map(c => c.canvas.id)")
        self.assertEqual(alike, [])

    def test_a_hundred_thousand_requests_stay_a_small_page(self):
        lines = many_requests.grow(self.lines, 100_000)
        report = write_report(lines, pathlib.Path(self.folder.name) / "many")
        self.assertLess(report.stat().st_size, 10_000_000)
        seconds = self.page.open(report)
        print(f"a report of 100,000 requests: {report.stat().st_size / 1e6:.2f} MB, opened in {seconds:.2f} s")
        self.assertGreater(min(self.drawn()), 1000)
        self.assertIn("100,", self.page.evaluate("document.querySelector('.findings').textContent"))


if __name__ == "__main__":
    IOL = pathlib.Path(sys.argv.pop(1)).resolve()
    if CHROMIUM is None:
        print("SKIPPED: no Chromium here, the report was opened in no browser. Debian: tools/setup.sh installs one; "
              "elsewhere IOL_CHROMIUM=/path/to/chrome", file=sys.stderr)
        sys.exit(NO_CHROMIUM)
    unittest.main(verbosity=2)
