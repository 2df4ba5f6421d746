"""A DeepSpeed configuration as it was written: JSON, its sections, and what becomes of its keys."""

import difflib
import json
import math
import re
from dataclasses import dataclass, field

from .tables import AUTO

LARGEST = 2**63 - 1  # of the deck's integers
TEXT_OR = r'"(?:\\.|[^"\\])*"'
COMMENT = re.compile(TEXT_OR + r"|//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
LAST_COMMA = re.compile(TEXT_OR + r"|,(?=\s*[}\]])", re.DOTALL)


class ConfigError(Exception):
    """What is wrong with the configuration, a line each."""


@dataclass
class Report:
    """Lines for standard error, each with the file's name and the key."""

    name: str
    lines: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    counts: dict = field(default_factory=lambda: {"lost": 0, "changed": 0})

    def lost(self, key, why):
        self.counts["lost"] += 1
        self.lines.append(f"{self.name}: {key}: not carried over: {why}")

    def changed(self, key, text):
        self.counts["changed"] += 1
        self.lines.append(f"{self.name}: {key}: {text}")

    def note(self, text):
        self.lines.append(f"{self.name}: note: {text}")

    def problem(self, key, text):
        self.problems.append(f"{self.name}: {key}: {text}")

    def summary(self):
        lost, changed = self.counts["lost"], self.counts["changed"]
        return f"{self.name}: {lost} not carried over, {changed} carried over with a difference"


def blank(match):
    """What a comment or a last comma leaves: blanks, so that lines and columns stay."""
    text = match.group()
    return text if text.startswith('"') else re.sub(r"[^\n]", " ", text)


def unique(pairs):
    seen = {}
    for key, value in pairs:
        if key in seen:
            raise ConfigError(f"{key} stands twice in one object")
        seen[key] = value
    return seen


def read(path):
    """The configuration as a dict. DeepSpeed reads JSON with comments and last commas."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text in UTF-8 (byte {error.start + 1})") from error
    text = LAST_COMMA.sub(blank, COMMENT.sub(blank, text))
    try:
        found = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise ConfigError(f"{where}: is no JSON: {error.msg}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: is no JSON that can be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: is no object of DeepSpeed's keys, but {kind(found)}")
    return found


def kind(value):
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "null" if value is None else "a number")


def asks(value):
    """Whether a value asks for something: false, 0, "none" and a section that is off do not."""
    if isinstance(value, dict):
        return bool(value) and value.get("enabled", True) not in (None, False, "auto")
    return value not in (None, False, 0, "", "none", "auto", [])


def short(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


class Section:
    """An object of the configuration; it knows which of its keys nobody has read yet."""

    def __init__(self, report, given, values, path=""):
        """`given`: the deck's keys that the user gives himself; `path`: with its last dot."""
        self.report, self.given, self.values, self.path = report, given, values, path
        self.left = list(values)

    def __contains__(self, key):
        return self.values.get(key) is not None

    def name(self, key):
        return self.path + key

    def take(self, key, default=None):
        """The value as it is, `default` in place of null; of "auto" what tables.AUTO says."""
        if key in self.left:
            self.left.remove(key)
        value = self.values.get(key)
        if value == "auto":
            return self.filled(key, default)
        return default if value is None else value

    def filled(self, key, default):
        if self.name(key) not in AUTO:
            self.report.lost(self.name(key), "auto, which Hugging Face's Trainer fills in")
            return default
        argument, value, deck_key = AUTO[self.name(key)]
        if deck_key and not set(deck_key.split(", ")) <= set(self.given):
            self.report.changed(
                self.name(key),
                f"auto: Hugging Face's Trainer fills in {argument}; its default, "
                f"{json.dumps(value).strip('[]')}, is written; another is given by {deck_key}",
            )
        return default if value is None else value

    def section(self, key):
        value = self.take(key, {})
        if not isinstance(value, dict):
            self.report.problem(self.name(key), f"is {kind(value)}, not an object")
            value = {}
        return Section(self.report, self.given, value, self.name(key) + ".")

    def number(self, key, default=None, least=0.0, below=math.inf):
        value = self.take(key, default)
        if value is None:
            return None
        if isinstance(value, list) and len(value) == 1:
            value = value[0]  # a number for each group of parameters
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.report.problem(self.name(key), f"{short(value)} is no number")
            return default
        if not math.isfinite(value) or value < least or value >= below:
            allowed = f"from {least:g}" + ("" if below == math.inf else f" to below {below:g}")
            self.report.problem(self.name(key), f"{value} is out of range; allowed {allowed}")
            return default
        return value

    def whole(self, key, default=None, least=0):
        value = self.number(key, default, least)
        if value is not None and (value != int(value) or value > LARGEST):
            text = f"{value} is no whole number; allowed up to {LARGEST}"
            self.report.problem(self.name(key), text)
            return default
        return None if value is None else int(value)

    def flag(self, key, default=False):
        value = self.take(key, default)
        if value not in (True, False) or not isinstance(value, bool):
            self.report.problem(self.name(key), f"{short(value)} is neither true nor false")
            return default
        return value

    def word(self, key, default=None):
        value = self.take(key, default)
        if value is not None and not isinstance(value, str):
            self.report.problem(self.name(key), f"{short(value)} is no text")
            return default
        return value

    def drop(self, keys=None):
        """Keys that say nothing here: those of a section that is off."""
        self.left = [] if keys is None else [key for key in self.left if key not in keys]

    def tell_rest(self, fixed, features, idle=None):
        """Names the keys that nobody read. `fixed`: key to reason, named whatever its value;
        `features`: named where the value asks for something; `idle`: key to the value that does
        not, where it is none of the usual ones."""
        known = [*self.values, *fixed, *features]
        for key in self.left:
            value = self.values[key]
            if value is None:
                continue  # null is DeepSpeed's default
            if key in fixed:
                self.report.lost(self.name(key), fixed[key])
            elif key in features:
                if asks(value) and value != (idle or {}).get(key):
                    self.report.lost(self.name(key), features[key])
            else:
                others = [one for one in known if one != key]
                near = difflib.get_close_matches(key, others, 1, 0.75)
                hint = f"; did you mean {self.name(near[0])}?" if near else ""
                self.report.lost(self.name(key), f"this tool does not know such a key{hint}")
        self.left = []
