"""Finds the functions of a C++ or CUDA source, their lengths and the parameter lists it declares.

It is no compiler: it blanks comments, literals and preprocessor lines, splits the rest into tokens
and follows braces through namespaces, classes, functions, lambdas and initialisers. Text that does
not fit that picture raises ScanError, so that nothing passes because it was not understood.
"""

import re
from dataclasses import dataclass, field

LITERAL_OR_COMMENT = re.compile(
    r"""//(?:\\\n|[^\n])*                            # a comment to the end of the line
      | /\*.*?\*/                                    # a block comment
      | (?:u8|[uUL])?R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"      # a raw string
      | (?:u8|[uUL])?"(?:\\.|[^"\\\n])*"             # a string
      | (?<![0-9A-Za-z_])(?:u8|[uUL])?'(?:\\.|[^'\\\n])+'            # a character
    """,
    re.X | re.S,
)
DIRECTIVE = re.compile(r"^[ \t]*\#(?:\\\n|[^\n])*", re.M)
TOKEN = re.compile(
    r"""operator\s*(?:\(\s*\)|\[\s*\]|[-+*/%^&|~!=<>,]+|""[ ]*\w+)   # an operator's name
      | [A-Za-z_]\w*
      | (?:0[xX][\w'.]+|\.?\d(?:[eEpP][-+]|[\w'.])*)                 # a number
      | ""
      | ::|->|<=>|<=|>=|==|!=|&&|\|\||\.\.\.|\+=|-=|\*=|/=|%=|\|=|&=|\^=
      | \S
    """,
    re.X,
)
OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = set(OPENERS.values())
RECORDS = {"class", "struct", "union"}
# Words before a parenthesis that do not make it a list of parameters.
NOT_PARAMETERS = {
    "alignas",
    "alignof",
    "decltype",
    "explicit",
    "noexcept",
    "requires",
    "sizeof",
    "static_assert",
    "typeid",
    "__attribute__",
    "__declspec",
    "__launch_bounds__",
}
TEST_MACROS = {"TEST", "TEST_F", "TEST_P", "TYPED_TEST", "TYPED_TEST_P"}


class ScanError(Exception):
    """The scanner does not understand a source; the text names the line."""


@dataclass
class Token:
    text: str
    line: int


@dataclass
class Function:
    name: str
    first_line: int
    last_line: int

    @property
    def lines(self):
        return self.last_line - self.first_line + 1


@dataclass
class ParameterList:
    name: str
    line: int
    count: int


@dataclass
class Source:
    """What a file defines (functions with a body) and declares (parameter lists)."""

    functions: list = field(default_factory=list)
    parameter_lists: list = field(default_factory=list)


def blank(text):
    """The same lines with spaces for comments and directives, and an empty string for a literal."""

    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group())

    def literal(match):
        found = match.group()
        if found.startswith(("//", "/*")):
            return spaces(match)
        return '""' + "\n" * found.count("\n")

    return DIRECTIVE.sub(spaces, LITERAL_OR_COMMENT.sub(literal, text))


def tokens_of(text):
    tokens, line, end = [], 1, 0
    blanked = blank(text)
    for match in TOKEN.finditer(blanked):
        line += blanked.count("\n", end, match.start())
        end = match.start()
        tokens.append(Token(match.group(), line))
    return tokens


def is_name(token):
    return token is not None and re.match(r"[A-Za-z_]", token.text) is not None


class Scanner:
    """Walks one file's tokens once; `partner` holds the place of each bracket's other end."""

    def __init__(self, text):
        self.tokens = tokens_of(text)
        self.partner = self._match_brackets()
        self.source = Source()

    def scan(self):
        self._scan_declarations(0, len(self.tokens))
        return self.source

    def _text(self, at):
        return self.tokens[at].text if 0 <= at < len(self.tokens) else ""

    def _match_brackets(self):
        partner, open_ones = {}, []
        for at, token in enumerate(self.tokens):
            if token.text in OPENERS:
                open_ones.append(at)
            elif token.text in CLOSERS:
                if not open_ones or OPENERS[self._text(open_ones[-1])] != token.text:
                    raise ScanError(f"line {token.line}: '{token.text}' closes nothing")
                partner[open_ones[-1]] = at
                partner[at] = open_ones.pop()
        if open_ones:
            last = self.tokens[open_ones[-1]]
            raise ScanError(f"line {last.line}: '{last.text}' is not closed")
        return partner

    def _angle_end(self, at, end):
        """The place of the '>' that closes the '<' at `at`, or None where it is a comparison."""
        depth = 0
        while at < end and self._text(at) != ";":
            if self._text(at) in OPENERS:
                at = self.partner[at]
            depth += {"<": 1, ">": -1}.get(self._text(at), 0)
            if depth == 0:
                return at
            at += 1
        return None

    # Declarations of a namespace or a class.

    def _scan_declarations(self, at, end):
        """Reads the declarations in [at, end): each runs to its ';' or to the end of its body."""
        start = at
        while at < end:
            text = self._text(at)
            if text in ("public", "private", "protected") and self._text(at + 1) == ":":
                at += 2
                start = at
            elif text == ";":
                self._declared(start, at)
                at += 1
                start = at
            elif text == "{":
                at, ended = self._opened(start, at)
                start = at if ended else start
            elif text in OPENERS:
                at = self.partner[at] + 1
            elif text == "<":
                angle = self._angle_end(at, end)
                at = at + 1 if angle is None else angle + 1
            else:
                at += 1
        if start < end:  # a macro without a semicolon at the end of a scope
            self._declared(start, end)

    def _opened(self, start, at):
        """Handles the '{' at `at` of a declaration from `start`: (where to go on, has it ended)."""
        close = self.partner[at]
        kind = self._kind(start, at)
        if kind == "initialiser":
            self._scan_expressions(at + 1, close)
            return close + 1, False
        if kind == "namespace":
            self._scan_declarations(at + 1, close)
            return close + 1, True
        if kind == "class":
            self._scan_declarations(at + 1, close)
            return close + 1, False
        name = self._declared(start, at)
        self.source.functions.append(
            Function(name, self.tokens[start].line, self.tokens[close].line)
        )
        self._scan_body(at + 1, close)
        return close + 1, True

    def _kind(self, start, brace):
        """What the brace after the head [start, brace) opens."""
        head = self._top_level(start, brace)
        words = [self._text(at) for at in head]
        if "namespace" in words[:2] or words == ["extern", '""'] or not words:
            return "namespace"
        if "=" in words or "enum" in words:
            return "initialiser"
        groups = [at for at in head if self._is_parameter_list(at)]
        if not groups:
            is_record = RECORDS & set(words) and self._text(brace - 1) != "}"
            return "class" if is_record else "initialiser"
        if "requires" in words and self._text(brace - 1) == ")":
            before = self._text(self.partner[brace - 1] - 1)
            return "initialiser" if before == "requires" else "function"
        after = [at for at in head if at > groups[0]]
        initialises_members = any(self._text(at) == ":" for at in after)
        follows_a_name = is_name(self.tokens[brace - 1]) or self._text(brace - 1) == ">"
        return "initialiser" if initialises_members and follows_a_name else "function"

    def _top_level(self, start, end):
        """The places in [start, end) outside of brackets and template arguments; a bracket's
        opening and what begins template arguments are among them."""
        places, at = [], start
        while at < end:
            places.append(at)
            if self._text(at) in OPENERS:
                at = self.partner[at]
            elif self._text(at) == "<":
                angle = self._angle_end(at, end)
                at = at if angle is None else angle
            at += 1
        return places

    def _is_parameter_list(self, at):
        if self._text(at) != "(":
            return False
        before = self._text(at - 1)
        return before not in NOT_PARAMETERS and before != ","

    def _declared(self, start, end):
        """Records the parameter lists of the declaration [start, end); returns its name."""
        head = self._top_level(start, end)
        words = [self._text(at) for at in head]
        if not words:
            return ""
        is_alias = words[0] == "using" or "using" in words and words[0] == "template"
        if "=" in words and not is_alias:
            place = head[words.index("=")]
            self._scan_expressions(place + 1, end)
            head = [at for at in head if at < place]
            words, end = words[: len(head)], place
        names = [word for word in words if re.match(r"[A-Za-z_]", word)] or [self._text(start)]
        name = names[names.index("using") + 1] if is_alias else names[-1]
        lists = [at for at in head if self._is_parameter_list(at)]
        for at in lists:
            if self._initialises_member(lists[0], at):
                break
            name = name if is_alias else self._name_before(at)
            is_macro = re.fullmatch(r"[A-Z][A-Z0-9_]+", self._text(at - 1)) and at - 1 == start
            if is_macro and self._text(at - 1) in TEST_MACROS:
                inside = self.tokens[at + 1 : self.partner[at]]
                name = f"{name}({''.join(t.text for t in inside).replace(',', ', ')})"
            elif not is_macro:
                self._parameters(name, at, self.partner[at])
        for at in head:
            if self._text(at) == "<":
                self._function_types(name, at + 1, self._angle_end(at, end) or at + 1)
        return name

    def _initialises_member(self, first, at):
        """True where the parenthesis at `at` stands behind the ':' of a constructor."""
        return any(self._text(place) == ":" for place in self._top_level(first, at))

    def _name_before(self, at):
        """The name in front of the parameter list at `at`, with the classes before its '::'."""
        at -= 1
        if self._text(at) == ")":  # a pointer to a function: (*name)(…)
            names = [t.text for t in self.tokens[self.partner[at] : at] if is_name(t)]
            return names[-1] if names else "a function type"
        if self._text(at) == ">":  # a specialisation: name<…>(…)
            depth = 0
            while at > 0 and (depth or self._text(at) == ">"):
                depth += {">": 1, "<": -1}.get(self._text(at), 0)
                at -= 1
        name, at = self._text(at), at - 1
        while self._text(at) in ("::", "~") and at > 0:
            if self._text(at) == "~":
                name, at = "~" + name, at - 1
                continue
            name, at = self._text(at - 1) + "::" + name, at - 2
        return name

    def _parameters(self, name, opening, close):
        """Counts the parameters between the two brackets, and those of function types in them."""
        commas, at, has_default = 0, opening + 1, False
        while at < close:
            text = self._text(at)
            if text == ",":
                commas, has_default = commas + 1, False
            elif text == "=":
                has_default = True
            elif text == "<":
                angle = self._angle_end(at, close)
                if angle is not None:
                    self._function_types(name, at + 1, angle)
                    at = angle
            elif text in OPENERS:
                if text == "(" and not has_default and self._is_parameter_list(at):
                    self._parameters(name, at, self.partner[at])
                at = self.partner[at]
            at += 1
        inside = [token.text for token in self.tokens[opening + 1 : close]]
        count = 0 if inside in ([], ["void"]) else commas + 1
        self.source.parameter_lists.append(ParameterList(name, self.tokens[opening].line, count))

    def _function_types(self, name, start, end):
        """The function types among template arguments, as in function<void(int)>."""
        at = start
        while at < end:
            if self._text(at) == "(" and self._is_parameter_list(at):
                self._parameters(name, at, self.partner[at])
            if self._text(at) in OPENERS:
                at = self.partner[at]
            at += 1

    # Statements and expressions.

    def _scan_body(self, at, end):
        """Reads a function's body: classes and aliases in it, lambdas, function types."""
        start = at
        while at < end:
            text = self._text(at)
            if text in RECORDS and at == start:
                places = self._top_level(at, end)
                brace = next((p for p in places if self._text(p) in ("{", ";", "(", "=")), end)
                if self._text(brace) == "{":
                    self._scan_declarations(brace + 1, self.partner[brace])
                    at = self.partner[brace]
            elif text == "using" and at == start:
                stop = next(p for p in range(at, end + 1) if self._text(p) == ";")
                self._declared(at, stop)
                at = stop
            else:
                self._look_at_expression(at, end)
            if self._text(at) in (";", "{", "}"):
                start = at + 1
            at += 1

    def _scan_expressions(self, at, end):
        """Reads initialisers outside of functions: a lambda there counts as a function."""
        while at < end:
            body = self._look_at_expression(at, end)
            if body is not None:
                close = self.partner[body]
                self.source.functions.append(
                    Function("lambda", self.tokens[at].line, self.tokens[close].line)
                )
                self._scan_body(body + 1, close)
                at = close
            at += 1

    def _look_at_expression(self, at, end):
        """Records a lambda's parameters or a function type; returns the place of a lambda's '{'."""
        text = self._text(at)
        if text == "<" and self._text(at - 1) in ("function", "move_only_function"):
            angle = self._angle_end(at, end)
            if angle is not None:
                self._function_types(self._text(at - 1), at + 1, angle)
        if text != "[" or self._text(at + 1) == "[" or self._text(at - 1) == "[":
            return None
        before = self.tokens[at - 1] if at > 0 else None
        if before and (before.text in (")", "]") or is_name(before) and before.text != "return"):
            return None  # an index
        after = self.partner[at] + 1
        if self._text(after) == "<":
            angle = self._angle_end(after, end)
            after = after if angle is None else angle + 1
        if self._text(after) == "(":
            self._parameters("lambda", after, self.partner[after])
            after = self.partner[after] + 1
        while after < end and self._text(after) not in ("{", ";", ",", ")"):
            after = self.partner[after] + 1 if self._text(after) == "(" else after + 1
        return after if self._text(after) == "{" else None


def scan(text):
    """The functions and the parameter lists of a C++ source."""
    return Scanner(text).scan()
