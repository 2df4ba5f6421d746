"""A distribution in small for the tests of tools/fetch_corpus.py: lists of descriptions as apt
keeps them, packages with a message catalogue, and both as a repository that apt can read."""

import gzip
import hashlib
import random
import struct
import subprocess

SYLLABLES = "ba de fi go lu ma ne pi ro su ta ve zi ka lo".split()
# Read the text once to know what a corpus of it holds: the made words are translated by syllables
# in turn, so that no text is left as it is.
CHINESE = "的一是不了人我在有他这中大来上"


def words(draw, count):
    return ["".join(draw.choices(SYLLABLES, k=3)) for _ in range(count)]


def translated(text):
    """Each made word with an ending, everything else as it is."""
    return " ".join(word[:6] + "ino" + word[6:] if word[:6].isalpha() else word for word in text)


def chinese(text):
    return "".join(CHINESE[SYLLABLES.index(word[at : at + 2])] for word in text for at in (0, 2, 4))


def wrapped(text, indent=" ", width=4):
    parts = text.split()
    return [indent + " ".join(parts[at : at + width]) for at in range(0, len(parts), width)]


class MadeLists:
    """`english` and `italian` are the lists' texts, `pairs` what a corpus has to hold of them."""

    def __init__(self, records=300):
        self.draw = random.Random(7)
        self.records = []  # (English description, Italian description)
        self.pairs, self.documents = set(), {}
        for _ in range(records):
            self._ordinary()
        self._special()

    def _ordinary(self):
        synopsis, text, one, other = (words(self.draw, n) for n in (5, 22, 6, 7))
        english = [" ".join(synopsis), *wrapped(" ".join(text)), " ."]
        italian = [translated(synopsis), *wrapped(translated(text), width=3), " ."]
        english += ["  * " + " ".join(one), "  * " + " ".join(other[:3])]
        english += ["    " + " ".join(other[3:]), " .", "    a command", ""]
        italian += ["  - " + translated(one) + ";", "  - " + translated(other) + ".", " ."]
        italian += ["    a command", ""]
        self.records.append(("\n".join(english[:-1]), "\n".join(italian[:-1])))
        for part in (synopsis, text, one, other):
            self.pairs.add((" ".join(part), translated(part)))
        self.documents[" ".join(text + one + other)] = " ".join(synopsis)

    def _add(self, synopsis, english, italian):
        """A description of a paragraph, with a synopsis of its own that is not translated."""
        self.records.append(
            ("\n".join([synopsis, *wrapped(english)]), "\n".join([synopsis, *wrapped(italian)]))
        )

    def _special(self):
        """What is repeated, contradicted, left in English, or a variant of another text."""
        draw = self.draw
        names = (" ".join(words(draw, 4)) for _ in iter(int, 1))
        shared, refused, self.alike = words(draw, 12), words(draw, 12), words(draw, 12)
        for translation in ("una cosa", "un'altra", "una cosa", "una cosa"):
            self._add(next(names), " ".join(shared), f"{translation} {translated(shared)}")
        self.pairs.add((" ".join(shared), f"una cosa {translated(shared)}"))
        self._add(next(names), " ".join(refused), " ".join(refused).upper())
        self._add(next(names), f"%s {' '.join(refused)}", translated(refused))
        self._add(next(names), f"{' '.join(refused)}", "breve")
        self._add(next(names), "1 2 3 4", "1 2 3 4 5")
        # Two paragraphs against one, two items against one: nobody knows what belongs together.
        name, text = next(names), " ".join(refused)
        self.records.append((f"{name}\n {text}\n .\n {text}", f"{name}\n {translated(refused)}"))
        self.records.append((f"{name} a\n  * {text}\n  * {text}", f"{name} a\n  * {text}ino"))
        for number in range(40):  # versions of one text: of one part
            self._pair(next(names), ["V" + str(number), *self.alike])
        for number in range(60):  # families: a text, and the same with more said
            text = words(draw, 9)
            self._pair(next(names), text)
            self._pair(next(names), [*text, *words(draw, 2)])

    def _pair(self, synopsis, text):
        self._add(synopsis, " ".join(text), translated(text))
        self.pairs.add((" ".join(text), translated(text)))

    def text(self, language):
        """The list in one language, with fields that other programs read."""
        at = ("en", "it", "zh_CN").index(language)
        found = []
        for number, record in enumerate(self.records):
            key = hashlib.md5(record[0].encode()).hexdigest()
            side = record[min(at, 1)]
            if language == "zh_CN":
                side = f"{CHINESE} {number}\n {CHINESE[::-1]} {number} {CHINESE}"
            found.append(
                f"Package: made{number}\nDescription-md5: {key}\nDescription-{language}: {side}\n"
            )
        return "\n".join(found)

    def write(self, folder, ending="", pack=bytes):
        folder.mkdir()
        for language in ("en", "it"):
            name = f"mirror_dists_made_main_i18n_Translation-{language}{ending}"
            (folder / name).write_bytes(pack(self.text(language).encode()))
        (folder / "mirror_dists_made_InRelease").write_text("Date: Sun, 01 Nov 2026 00:00:00 UTC\n")


def lz4_frame(data):
    """An LZ4 frame of blocks that are not compressed."""
    frame = b"\x04\x22\x4d\x18\x60\x40\x82"
    for at in range(0, len(data), 65536):
        block = data[at : at + 65536]
        frame += struct.pack("<I", len(block) | 1 << 31) + block
    return frame + bytes(4)


def catalogue(messages):
    """A .mo file of {message: translation}."""
    entries = sorted((key.encode(), value.encode()) for key, value in messages.items())
    place = 28 + 16 * len(entries)
    tables, text = [b"", b""], b""
    for side in (0, 1):
        for entry in entries:
            tables[side] += struct.pack("<2I", len(entry[side]), place + len(text))
            text += entry[side] + b"\0"
    head = (0x950412DE, 0, len(entries), 28, 28 + 8 * len(entries), 0, 0)
    return struct.pack("<7I", *head) + tables[0] + tables[1] + text


def messages(count=400):
    """({message: translation} of a catalogue, the pairs that a corpus has to hold of it)."""
    draw = random.Random(8)
    header = "Content-Type: text/plain; charset=UTF-8\n"
    found, pairs = {"": header}, set()
    for _ in range(count):
        text = words(draw, 6)
        found[" ".join(text)] = chinese(text)
        pairs.add((" ".join(text), chinese(text)))
    one, two, three, four = (words(draw, 4) for _ in range(4))
    found["menu\4_" + " ".join(one) + "..."] = chinese(one) + "(_B)..."
    found["%d item\0%d " + " ".join(two)] = "%d " + chinese(two)
    found["<b>" + " ".join(three) + "</b>"] = "<b>" + chinese(three) + "</b>"
    found["\n".join(four)] = "\n".join(map(chinese, ([word] for word in four)))
    pairs |= {(" ".join(one) + "...", chinese(one) + "...")}
    pairs |= {("%d " + " ".join(two), "%d " + chinese(two)), (" ".join(three), chinese(three))}
    pairs |= {(" ".join(four), chinese(four))}
    # One word, other places to fill in, text that stayed English, a tag on one side alone:
    found.update({"Bagode": "的一是", "%s bade figo": "的一是", "lune pimi": "lune pimi"})
    found["<i>roba</i> suta"] = "的一是不"
    return found, pairs


def package(folder, name, messages_of):
    """Builds NAME's .deb with a Chinese and a French catalogue, and gives its path."""
    tree = folder / f"{name}.tree"
    for language in ("zh_CN", "fr"):
        place = tree / "usr/share/locale" / language / "LC_MESSAGES"
        place.mkdir(parents=True)
        (place / f"{name}.mo").write_bytes(catalogue(messages_of))
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1.0-2\nArchitecture: all\nMaintainer: Nobody <n@localhost>\n"
        "Description: made for a test\n"
    )
    (folder / "debs").mkdir(exist_ok=True)
    path = folder / "debs" / f"{name}_1.0-2_all.deb"
    call = ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(path)]
    subprocess.run(call, check=True, capture_output=True)
    return path


def repository(folder, lists, debs):
    """A repository of the lists and packages, and the apt configuration that has it alone."""
    arch = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True).stdout
    main = folder / "repository/dists/made/main"
    packages = f"main/binary-{arch.strip()}/Packages"
    files = {f"main/i18n/Translation-{code}": lists.text(code) for code in ("en", "it", "zh_CN")}
    files[packages] = ""
    for deb in debs:
        fields = subprocess.run(["dpkg-deb", "-f", str(deb)], capture_output=True, text=True).stdout
        data = deb.read_bytes()
        (folder / "repository/pool").mkdir(parents=True, exist_ok=True)
        (folder / "repository/pool" / deb.name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files[packages] += f"{fields}Filename: pool/{deb.name}\nSize: {len(data)}\n"
        files[packages] += f"SHA256: {digest}\n\n"
    sums = ""
    for name, text in files.items():
        path = main.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for ending, data in (("", text.encode()), (".gz", gzip.compress(text.encode()))):
            path.with_name(path.name + ending).write_bytes(data)
            sums += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}{ending}\n"
    (main.parent / "Release").write_text(
        "Origin: made\nSuite: made\nCodename: made\nDate: Sun, 01 Nov 2026 00:00:00 UTC\n"
        f"Architectures: {arch.strip()}\nComponents: main\nSHA256:\n{sums}"
    )
    return apt_configuration(folder, f"[trusted=yes] copy:{folder}/repository made main")


def apt_configuration(folder, source):
    """An apt.conf for the variable APT_CONFIG: `source` is all that apt knows."""
    (folder / "sources.list").write_text(f"deb {source}\n")
    (folder / "nothing").mkdir()
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\n'
        f'Dir::Etc::sourceparts "{folder}/nothing";\nDir::Etc::parts "{folder}/nothing";\n'
        f'APT::Update::Post-Invoke {{ "touch {folder}/hook"; }};\n'
    )
    return folder / "apt.conf"
