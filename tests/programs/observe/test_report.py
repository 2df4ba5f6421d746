#!/usr/bin/env python3
"""th_report: one static page of one or several runs, each picture with its curves, whatever state
the runs are in; skipped without gnuplot (Debian's gnuplot-nox)."""

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import th_run

GNUPLOT = os.environ.get("TH_GNUPLOT", "gnuplot")
SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
MIB = 1 << 20
ALWAYS = {"loss", "rate", "lr", "grad_norm", "memory", "memory_over_steps", "time"}


class Page(html.parser.HTMLParser):
    """What can be wrong in a page without being seen: open tags, ids twice, scripts, fetches."""

    EMPTY = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.tags, self.problems, self.open = [], [], set(), [], []
        self.text = []
        self.feed(text)
        self.close()
        self.problems += [f"<{tag}> is left open" for tag in self.open]
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href"):
                self.links.append(value)
            if name in ("src", "action") or name.startswith("on"):
                self.problems.append(f"<{tag} {name}={value}>")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag in self.EMPTY:
            return
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def pictures(text):
    """{name: SVG} of a page's figures."""
    found = re.findall(r'<figure id="(\w+)">.*?(<svg .*?</svg>)', text, re.S)
    return {name: ET.fromstring(svg) for name, svg in found}


def curves(svg):
    """{label: its group} of a picture; bands apart, under their own titles."""
    groups = [g for g in svg.iter(f"{SVG}g") if g.get("class") == "curve"]
    return {g.find(f"{SVG}title").text: g for g in groups}


def places(group):
    """(x, y) of the marks of a curve that has few points."""
    marks = [u.get("transform") for u in group.iter(f"{SVG}use")]
    numbers = [re.match(r"translate\(([\d.]+),([\d.]+)\)", mark) for mark in marks]
    return [(float(n.group(1)), float(n.group(2))) for n in numbers]


def vertices(group):
    """How many points the lines of a curve have."""
    return sum(len(re.findall(r"[ML][\d.]", p.get("d"))) for p in group.iter(f"{SVG}path"))


def is_drawn(group):
    return vertices(group) > 1 or places(group) or group.find(f".//{SVG}polygon") is not None


class Report(th_run.ProgramTest):
    def report(self, *runs, code=0, words=()):
        result = self.program("th_report", *runs, "--output", "page.html", *words, code=code)
        return result if code else self.page()

    def page(self):
        """The text of page.html, which is a whole document that fetches and runs nothing."""
        text = (self.folder / "page.html").read_text(encoding="utf-8")
        seen = Page(text)
        self.assertEqual(seen.problems, [])
        self.assertEqual(len(seen.ids), len(set(seen.ids)), seen.ids)
        self.assertFalse(seen.tags & {"script", "img", "iframe", "object", "link", "base"})
        self.assertTrue(all(link.startswith("#") for link in seen.links), seen.links)
        self.assertTrue({link[1:] for link in seen.links} <= set(seen.ids))
        self.assertNotRegex(re.sub(r'xmlns(:\w+)?="[^"]*"', "", text), r"https?://|url\(h")
        for name, svg in pictures(text).items():
            groups = curves(svg)
            self.assertTrue(groups, name)
            for label, group in groups.items():
                self.assertTrue(is_drawn(group), f"{name}: nothing of {label}")
        return text

    def words(self, text):
        return Page(text).words

    def assert_line_shows(self, group, points):
        """The marks lie where a linear scale puts (step, value), to a pixel."""
        seen = places(group)
        self.assertEqual(len(seen), len(points))
        for axis in (0, 1):
            low = min(range(len(points)), key=lambda i: points[i][axis])
            high = max(range(len(points)), key=lambda i: points[i][axis])
            scale = (seen[high][axis] - seen[low][axis]) / (points[high][axis] - points[low][axis])
            self.assertNotEqual(scale, 0)
            for place, point in zip(seen, points):
                expected = seen[low][axis] + scale * (point[axis] - points[low][axis])
                self.assertAlmostEqual(place[axis], expected, delta=1)

    def test_a_run_with_validation_scores_samples_and_a_test_set(self):
        for language in ("en", "fr"):
            lines = (self.folder / f"valid.{language}").read_text().splitlines(keepends=True)[:12]
            (self.folder / f"test.{language}").write_text("".join(lines))
        self.train(
            ranks=2,
            train__epochs=3,
            valid__metrics="loss,bleu,chrf",
            monitor__sample_lines=2,
            decode__max_length=6,
            data__test_source="test.en",
            data__test_target="test.fr",
        )
        text = self.report("out")
        drawn = pictures(text)
        expected = ALWAYS | {"valid_loss", "score_bleu", "score_chrf"}
        self.assertEqual(set(drawn), expected)
        steps = self.metrics(kind="step")
        losses = [(int(s["step"]), float(s["loss"])) for s in steps]
        self.assert_line_shows(curves(drawn["loss"])["out"], losses)
        group = curves(drawn["valid_loss"])["validation"]
        self.assertEqual(len(places(group)), len(self.metrics(kind="epoch")) + 1)  # the legend's
        self.assertEqual(set(curves(drawn["memory"])), {"planned", "measured"})
        self.assertTrue({"compute", "communication"} <= set(curves(drawn["time"])))
        words = self.words(text)
        summary = self.metrics(kind="summary")[0]
        identity = re.search(r"Identity: (.*)", (self.folder / "out/run.log").read_text())[1]
        for expected in (summary["run"], identity, "completed", "step_00000018", "latest"):
            self.assertIn(expected, words)
        sample = (self.folder / "valid.en").read_text().splitlines()[0]
        self.assertGreaterEqual(words.count(sample), 2)  # validation's and the test set's
        self.assertRegex(words, r"train\.epochs 3 command line")
        self.assertRegex(words, r"optimizer\.beta2 0\.98 default")
        for record in self.metrics(kind="eval"):
            if record["set"] == "test":
                value = f"{float(record['value']):.6g}"
                self.assertIn(f"{record['metric']} {value} 18 ", words)

    def test_a_run_without_validation_and_without_tensorboard(self):
        self.train(
            train__max_steps=5,
            data__valid_source="",
            data__valid_target="",
            monitor__tensorboard="false",
        )
        text = self.report("out")
        self.assertEqual(set(pictures(text)), ALWAYS - {"memory_over_steps"})
        self.assertIn("steps", curves(pictures(text)["time"]))
        self.assertIn("There was no validation.", self.words(text))

    def test_a_run_that_crashed(self):
        self.train(train__epochs=2)
        path = self.folder / "out" / "metrics.jsonl"
        lines = [x for x in path.read_text().splitlines() if "summary" not in x]
        path.write_text("\n".join(lines[:9]) + '\n{"kind":"step","step":9,"epoch":1,"lo')
        with open(self.folder / "out" / "run.log", "a", encoding="utf-8") as log:
            log.write("2026-01-01 00:00:00 error: the cable <was> cut\n")
        before = th_run.tree(self.folder / "out")
        words = self.words(self.report("out"))
        self.assertIn("no end recorded", words)
        self.assertIn("error: the cable <was> cut", words)
        self.assertIn("the last line was not written whole", words)
        self.assertEqual(th_run.tree(self.folder / "out"), before, "a run's folder is only read")
        path.write_bytes(b"")
        self.assertIn("no record of a step", self.words(self.report("out")))

    def test_ten_runs_have_a_curve_each_and_the_keys_that_differ(self):
        self.train(train__max_steps=4, checkpoint__every_epochs=0)
        names = [f"run{i}" for i in range(8)] + ["it's <b>&amp;\"x\" é", "$(rm x) `y`"]
        for i, name in enumerate(names):
            shutil.copytree(self.folder / "out", self.folder / "runs" / name)
            deck = self.folder / "runs" / name / "resolved.in"
            deck.write_text(re.sub(r"(?m)^seed = 1 .*", f"seed = {i}  # deck:3", deck.read_text()))
        text = self.report(*(f"runs/{name}" for name in names))
        drawn = pictures(text)
        for name in ("loss", "rate", "lr", "grad_norm", "memory_over_steps"):
            self.assertEqual(set(curves(drawn[name])), set(names), name)
            shown = [t.text for t in drawn[name].iter(f"{SVG}text")]
            self.assertTrue(set(names) <= set(shown), "the legend")
        words = self.words(text)
        self.assertRegex(words, r"run\.seed 0 1 2 3 4 5 6 7 8 9 ")
        self.assertNotIn("Thinned", words)
        self.assertIn("10 runs of th_app", words)
        self.assertEqual(sorted(os.listdir(self.folder / "runs")), sorted(names))
        result = self.program("th_report", "runs", "--output", "b.html", code=3)
        self.assert_one_message(result, "th_report: runs: holds no run", "runs are below it: runs/")

    def test_runs_of_one_name_are_told_apart(self):
        self.train(train__max_steps=2)
        for place in ("a", "b"):
            shutil.copytree(self.folder / "out", self.folder / place / "out")
        text = self.report("a/out", "b/out")
        self.assertEqual(set(curves(pictures(text)["loss"])), {"a/out", "b/out"})

    def test_200_megabytes_of_metrics_take_little_memory_and_make_a_small_page(self):
        (self.folder / "long").mkdir()
        form = (
            '{{"kind":"step","step":{},"epoch":0,"loss":{},"grad_norm":0.604386514245681{},'
            '"lr":0.00028250000000000004,"source_tokens":7374,"target_tokens":7454,'
            '"seconds":1.0519567{}}}\n'
        )
        step, size = 0, 0
        with open(self.folder / "long" / "metrics.jsonl", "w", encoding="utf-8") as file:
            while size < 200 * MIB:
                first, step = step + 1, step + 10000
                block = "".join(
                    form.format(s, 50.5 if s == 777777 else 5 + 1 / s, s % 10, s % 100)
                    for s in range(first, step + 1)
                )
                size += file.write(block)
        command = self.command("th_report", ["long", "--output", "page.html"], 0)
        process = subprocess.Popen(command, cwd=self.folder, env=self.environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        self.assertLess(usage.ru_maxrss * 1024, 100 * MIB)
        text = self.page()
        self.assertLess(len(text), MIB)
        loss = curves(pictures(text)["loss"])
        self.assertLessEqual(vertices(loss["long"]), 410)
        self.assertIn(f"{step:,}".replace(",", " "), self.words(text))
        # The one step of loss 50.5 reaches the top: the band keeps it.
        # gnuplot parts a band where its borders meet.
        band = loss["long, lowest to highest"].iter(f"{SVG}polygon")
        points = [point for part in band for point in part.get("points").split()]
        heights = [float(point.split(",")[1]) for point in points]
        self.assertLess(min(heights), 0.2 * max(heights))

    def test_a_resumed_run(self):
        self.train(train__max_steps=8, checkpoint__every_steps=3)
        self.train(train__epochs=2, checkpoint__resume="out/checkpoints/step_00000003")
        text = self.report("out")
        steps = [(int(s["step"]), float(s["loss"])) for s in self.metrics(kind="step")]
        self.assert_line_shows(curves(pictures(text)["loss"])["out"], steps)
        words = self.words(text)
        self.assertRegex(words, r"taken up again [-\d]+ [:\d]+ Resumed .*step_00000003 at step 3")
        # A point a step, though both event files have steps 4 to 8.
        memory = curves(pictures(text)["memory_over_steps"])["out"]
        self.assertEqual(len(places(memory)), 12)

    def test_summaries_have_rouge(self):
        words = ("records", "--pairs", 100, "--seed", 5, "--output", ".")
        self.program("th_corpus", *words)
        files = {
            f"data__{part}_{side}": f"records.{part}.{side}"
            for part in ("train", "valid", "test")
            for side in ("source", "target")
        }
        self.train(
            run__task="summarization",
            train__max_steps=3,
            valid__metrics="rouge",
            decode__max_length=6,
            data__batch_size=4,
            **files,
        )
        text = self.report("out")
        names = ("rouge1", "rouge2", "rougeL", "rougeLsum")
        self.assertTrue({f"score_{name}" for name in names} <= set(pictures(text)))
        for name in names:
            self.assertIn(name, self.words(text))

    def test_fp16_has_its_loss_scale(self):
        self.train(train__max_steps=3, precision__dtype="fp16", precision__loss_scale=64)
        self.assertIn("loss_scale", pictures(self.report("out")))

    def test_the_pictures_alone(self):
        self.train(train__max_steps=3)
        out = self.program("th_report", "out", "--svg", "svg").out
        names = sorted(path.name for path in (self.folder / "svg").iterdir())
        self.assertEqual(sorted(re.findall(r"svg/(\S+): written", out)), names)
        self.assertEqual({name.removesuffix(".svg") for name in names}, ALWAYS | {"valid_loss"})
        for name in names:
            root = ET.parse(self.folder / "svg" / name).getroot()
            self.assertEqual(root.tag, f"{SVG}svg")
            self.assertTrue(all(is_drawn(group) for group in curves(root).values()), name)
            uses = {use.get(LINK)[1:] for use in root.iter(f"{SVG}use")}
            self.assertTrue(uses <= {e.get("id") for e in root.iter()}, name)
        self.assertFalse((self.folder / "page.html").exists())

    def test_other_programs_files_are_not_replaced(self):
        self.train(train__max_steps=2)
        self.report("out")
        self.report("out")  # a page of its own is
        (self.folder / "page.html").write_text("mine\n")
        result = self.report("out", code=2)
        self.assert_one_message(result, "page.html: is there and is no report", "--force")
        self.assertEqual((self.folder / "page.html").read_text(), "mine\n")
        self.report("out", words=("--force",))
        self.assertEqual([p.name for p in self.folder.iterdir() if "partial" in p.name], [])

    def test_words_that_are_wrong(self):
        (self.folder / "empty").mkdir()
        for words, code, pattern in (
            (("absent",), 3, "absent: there is no such folder"),
            (("empty",), 3, "empty: holds no run of th_app"),
            (("train.en",), 3, "train.en: is no folder"),
            ((), 2, "no run is given"),
            (("empty", "--bogus"), 2, "bogus"),
        ):
            self.assert_one_message(self.report(*words, code=code), "^th_report: ", pattern)
        result = self.program("th_report", "empty", code=2)
        self.assert_one_message(result, "neither --output F.html nor --svg FOLDER")
        self.assertRegex(self.program("th_report", "--version").out, r"^th_report \d")
        self.assertIn("--svg", self.program("th_report", "-h").out)

    def test_a_run_given_twice(self):
        self.train(train__max_steps=1)
        self.assert_one_message(self.report("out", "./out/", code=2), "./out/: is given twice")


class WithoutGnuplot(th_run.ProgramTest):
    """Runs everywhere."""

    def test_one_line_names_the_package(self):
        (self.folder / "run").mkdir()
        record = {"kind": "step", "step": 1, "loss": 1.5, "seconds": 1}
        (self.folder / "run" / "metrics.jsonl").write_text(json.dumps(record) + "\n")
        for program in ("/nonexistent/gnuplot", "/bin/true"):
            self.environment["TH_GNUPLOT"] = program
            result = self.program("th_report", "run", "--output", "page.html", code=2)
            self.assert_one_message(result, "^th_report: ", "gnuplot-nox", program)
            self.assertFalse((self.folder / "page.html").exists())


if __name__ == "__main__":
    if shutil.which(GNUPLOT) is None:
        del Report
        print("skipped: gnuplot is not there (Debian's gnuplot-nox); the test without it runs")
        outcome = th_run.unittest.main(module="__main__", exit=False, verbosity=2).result
        sys.exit(th_run.SKIP if outcome.wasSuccessful() else 1)
    th_run.main()
