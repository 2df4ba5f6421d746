#!/usr/bin/env python3
"""tools/deepspeed2deck.py: keys without one of ours are named, each of them stands in
docs/from-pytorch.md, and what is wrong with a configuration is told in a line."""

import re
import sys

import th_run
from deepspeed_case import TOOLS, Conversion

sys.dont_write_bytecode = True
sys.path.insert(0, str(TOOLS))

from from_deepspeed import schedule, tables, training  # noqa: E402


class Keys(Conversion):
    def test_every_key_without_a_counterpart_is_named(self):
        on = {key: {"enabled": True} for key in tables.TOP}
        on.update(train_batch_size=8, zero_optimization={"stage": 3, "zenflow": {"topk_ratio": 1}})
        for name in (*tables.ZERO_FIXED, *tables.ZERO_FEATURES):
            on["zero_optimization"].setdefault(name, 7)
        on["zero_optimization"].update({f"stage3_{key}": 7 for key in tables.STAGE3_FEATURES})
        on["steps_per_prnt"] = 10
        _, lines = self.convert(on)
        inner = {key for key in on["zero_optimization"] if key != "stage"}
        named = {*tables.TOP, *(f"zero_optimization.{key}" for key in inner), "steps_per_prnt"}
        self.assertEqual(set(lines), named)
        self.assertNotIn("did you mean", lines["wandb"])
        off = {key: {"enabled": False} for key in tables.TOP}
        off.update(train_batch_size=8, zero_optimization={"stage": 3})
        off["zero_optimization"].update(dict.fromkeys(tables.ZERO_FEATURES, False))
        self.assertEqual(self.convert(off)[1], {})

    def test_comments_and_last_commas_are_read(self):
        text = '{ // "a": 1\n "train_batch_size": 8, # all ranks\n /* a\n b */ "wandb": "x//y",\n}'
        values, lines = self.checked(text)
        self.assert_values(values, {"data.batch_size": "8"})
        self.assertEqual(set(lines), {"wandb"})

    def test_the_page_has_every_key(self):
        page = (th_run.SOURCE / "docs" / "from-pytorch.md").read_text()
        decks = (th_run.SOURCE / "docs" / "deck.md").read_text()
        ours = set(re.findall(r"(?m)^\| (\w+\.\w+) \|", decks))
        reasons = []
        for module in (tables, schedule, training):
            for name, table in vars(module).items():
                if not name.isupper() or not isinstance(table, dict):
                    continue
                for key, reason in table.items():
                    if name not in ("AUTO", "OPTIMIZERS", "DEFAULTS", "KINDS"):
                        key = f"stage3_{key}" if name.startswith("STAGE3") else key
                        self.assertIn(f"`{key}`", page, f"{name} of the tool")
                    reasons.append(str(reason))
        sections = "|".join({key.split(".")[0] for key in ours})
        key = rf"(?<![\w.])(?:{sections})\.[a-z][a-z0-9_]+"  # not within the name of a file
        used = set(re.findall(key, "\n".join([page, *reasons])))
        theirs = {"optimizer.params", "optimizer.type"}
        pages = {"profile.md", "zero.md", "model.h5"}
        self.assertEqual(used - ours - theirs - pages, set())

    def test_errors_are_a_line_each(self):
        wrong = {"train_batch_size": 20, "train_micro_batch_size_per_gpu": 4}
        cases = (
            ('{"a": 1,\n  "b" 2}', r"ds\.json:2:7: is no JSON"),
            ("stage: 2\n", r"ds\.json:1:1: is no JSON"),
            ("[1, 2]", "no object of DeepSpeed's keys, but a list"),
            ('{"a": 1, "a": 2}', "a stands twice"),
            ({**wrong, "gradient_accumulation_steps": 2}, "20 is no multiple of .*, which is 8"),
            ({"train_batch_size": "8"}, 'train_batch_size: "8" is no number'),
            ({"train_batch_size": 0}, "train_batch_size: 0 is out of range; allowed from 1"),
            ({"train_batch_size": 2.5}, "2.5 is no whole number"),
            ({"fp16": {"enabled": True}, "bf16": {"enabled": True}}, "both enabled"),
            ({"zero_optimization": {"stage": 4}}, r"zero_optimization\.stage: 4 is none of ZeRO's"),
            ({"zero_optimization": 3}, "zero_optimization: is a number, not an object"),
            ({"gradient_clipping": True}, "gradient_clipping: true is no number"),
            ({"optimizer": {"type": "Adam", "params": {"betas": 0.9}}}, "not two numbers"),
            (
                {"scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": 900}}},
                "900 leaves no step behind warmup_num_steps = 1000",
            ),
            ({"scheduler": {"type": "WarmupDecayLR"}}, "total_num_steps: is missing"),
        )
        for configuration, message in cases:
            with self.subTest(message):
                done = self.tool(self.written(configuration), code=2)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, r"\Adeepspeed2deck: error: .*\n\Z")
                self.assertRegex(done.stderr, message)
        exact = {**wrong, "gradient_accumulation_steps": 5}
        self.tool(self.written(exact))
        done = self.tool(self.written(exact), "--ranks", 2, code=2)
        self.assertRegex(done.stderr, r"20 is not .* \* ranks = 2, which is 40")
        two = {"gradient_clipping": "x", "zero_optimization": {"stage": -1}}
        self.assertEqual(len(self.tool(self.written(two), code=2).stderr.splitlines()), 2)

    def test_wrong_use_is_a_line(self):
        self.written({})
        for words, message in (
            ((), "one configuration is wanted"),
            (("ds.json", "ds.json"), "one configuration is wanted"),
            (("none.json",), "No such file"),
            (("ds.json", "--ranks", "0"), "--ranks 0: a number"),
            (("ds.json", "--rank=2"), "is no option"),
            (("ds.json", "zero.stage=1", "--zero.stage=2"), "is given twice"),
            (("ds.json", "run.output_dir=a#b"), "has no #"),
        ):
            with self.subTest(words):
                done = self.tool(*words, code=2)
                self.assertRegex(done.stderr, rf"\Adeepspeed2deck: error: .*{message}.*\n\Z")
        self.assertIn("usage: tools/deepspeed2deck.py", self.tool("--help").stdout)


if __name__ == "__main__":
    th_run.main()
