"""Sentences of several languages, written for these tests, and hypotheses made of them by edits."""

SENTENCES = {
    "en": [
        "The old bridge was closed on Monday, 3-4 hours after the storm.",
        "A dog runs across the field with a stick in its mouth.",
        'She asked: "Is the 9:30 train to St. Mary\'s already gone?"',
        "Prices rose by 1,234.56 dollars (about 2.5%) in the U.S. market.",
        "It's a well-known fact that cats don't like water; ours does!",
        "Two men in hard hats are standing next to a yellow machine.",
        "Version 2.6.0 removes the option --force, doesn't it?",
        "Please send e-mails to info@example.org before 12/31/2024.",
        "The children built a castle of sand and the sea took it away.",
        "Nobody knew why the museum had bought the painting in 1987.",
    ],
    "fr": [
        "L'école fermera ses portes à 18 h 30, comme d'habitude.",
        "Où est passé le chien que nous avions vu près de l'église ?",
        "« Je n'ai rien vu », dit-il, « mais j'ai tout entendu. »",
        "Le prix du café a augmenté de 3,5 % en un an.",
        "Aujourd'hui, les élèves vont-ils à la forêt ou à la mer ?",
        "Deux hommes portant des casques regardent une grue jaune.",
        "La garçonnière du cœur d'Hélène coûte 1 200 € par mois.",
        "Il pleuvait ; pourtant, personne n'avait pris de parapluie…",
    ],
    "de": [
        "Zwei Männer stehen am Straßenrand und warten auf den Bus.",
        "Das Mädchen läuft über die große Brücke, während es regnet.",
        "„Wie spät ist es?“, fragte er um 7.45 Uhr.",
        "Der Preis stieg um 12,3 Prozent auf 1.234,50 Euro.",
        "Donaudampfschifffahrtsgesellschaft ist ein sehr langes Wort.",
        "Äpfel, Birnen und Öl kaufte sie – wie immer – am 3. Mai.",
        "Er sagte, dass er morgen früh nach Köln fahren müsse.",
        "Ein Kind mit roter Mütze wirft einen Stein in den Fluss.",
    ],
    "it": [
        "Perché non c'è più nessuno nella piazza della città?",
        "Un uomo con un cappello blu suona la chitarra per strada.",
        "L'anno scorso abbiamo visitato un'isola molto piccola.",
        "È così: la metà degli studenti arriverà venerdì, l'altra no.",
        "Il pacchetto fornisce i file necessari per compilare programmi.",
        "Questo programma mostra l'ora, la data e il tempo (per esempio: 21 °C).",
    ],
    "zh": [
        "今天的天气很好，我们去公园散步吧！",
        "他在2008年买了三本书，一共花了128.50元。",
        "“你为什么不早说？”她问道。",
        "这个软件包提供了C++开发所需的头文件和库。",
        "两个男人站在一台黄色的机器旁边，看着天空……",
        "中文（简体）与English混排：GPU显存只有16GB。",
        "　全角空格和ＡＢＣ１２３以及〇〇号房间。",
        "生僻字𠀀𪛖和㐀、兀嗀，还有部首⼀⺀。",
    ],
    "ru": [
        "Собака бежит по полю с палкой в зубах.",
        "Цена выросла на 3,5 % — почти до 1 200 рублей.",
        "«Где мы?» — спросил Пётр Ильич, глядя в окно.",
    ],
    "signs": [
        "&quot;Salt &amp; pepper&quot; cost &lt; 5 &gt; 4; a&amp;lt;b",
        "Hello 👋🏽 world 👩‍👩‍👧 — ☃ ★ ✈ → done ✓",
        "a<skipped>b -- c...d ..e, f ,g 1,000,000.00 .5 5. 3-4-5 x-y -7",
        "tabs\tand\u00a0hard\u202fspaces\u2003and\u3000wide ones \u0085next",
        "UPPER lower MiXeD K\u212a \u0130stanbul \u00c5ngstr\u00f6m \u212b",
        "[a] {b} (c) <d> `e` ~f~ ^g^ _h_ |i| \\j\\ /k/ #l @m $n %o *p +q =r",
        "http://www.example.org/path?q=1&r=2#top",
        "...!!!???,,,;;;:::",
        "I'm, you're; they'd've 'quoted' ''twice'' \u2018curly\u2019 \u201cquotes\u201d",
        "1 2 3 4 5 6 7 8 9 10",
        "½ ² ³ € £ ¥ © ® ™ § ¶ † ‡ • … ‰ ′ ″",
        "e\u0301 is not \u00e9; \ufb01 is one sign",
    ],
}
# What an untrained or broken model writes.
POOR = ["", " ", ".", "the the the the the the the", "a", "<unk> <unk> <unk>", "的的的的的的", "、"]
EDITS = ("keep", "drop", "swap", "repeat", "foreign", "cut", "case", "unstop", "spaces", "letters")


def tokens(language, text):
    return list(text) if language == "zh" else text.split(" ")


def join(language, words):
    return ("" if language == "zh" else " ").join(words)


def variant(random, language, text):
    """Another sentence of the language: some words changed for those of its other sentences."""
    words = tokens(language, text)
    for _ in range(random.randrange(4)):
        other = tokens(language, random.choice(SENTENCES[language]))
        words[random.randrange(len(words))] = random.choice(other)
    return join(language, words)


def edited(random, language, text):
    """A hypothesis for `text`: near it, or of no use."""
    if random.random() < 0.06:
        return random.choice(POOR)
    words = tokens(language, text)
    for _ in range(random.randrange(5)):
        edit, at = random.choice(EDITS), random.randrange(max(1, len(words)))
        if not words:
            break
        if edit == "drop":
            del words[at]
        elif edit == "swap":
            other = random.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        elif edit == "repeat":
            words[at:at] = words[at : at + 2]
        elif edit == "foreign":
            names = sorted(SENTENCES)
            source = random.choice(names)
            words[at] = random.choice(tokens(source, random.choice(SENTENCES[source])))
        elif edit == "cut":
            words = words[: at + 1]
        elif edit == "case":
            words[at] = words[at].swapcase()
        elif edit == "unstop":
            words[at] = words[at].strip(".,;:!?\u3002\uff0c")
        elif edit == "spaces":
            words[at] = f" {words[at]}  "
        elif edit == "letters" and len(words[at]) > 2:
            words[at] = words[at][1] + words[at][0] + words[at][2:]
    return join(language, words)
