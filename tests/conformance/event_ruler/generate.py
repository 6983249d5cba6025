"""Random groups of rules and events that use the whole pattern language, in the form that both matchers read.

A group has a few paths, and for each a small pool of values that its rules' predicates were made for, so that a
good share of the pairs match. Numbers keep many texts (`7`, `7.0`, `70e-1`), strings and keys many escapes. What
MATCHING marks as ours is left out: it has its own table, in `differences.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

RULES = 8
EVENTS = 8
"""In a group: every rule meets every event."""

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Number:
    """A number as it is written."""

    text: str


Json: TypeAlias = bool | str | Number | list["Json"] | dict[str, "Json"] | None


@dataclass
class Group:
    rules: list[str]
    events: list[str]
    features: list[set[str]]
    """Of each rule, what it uses."""


KEYS = ["a", "b", "c", "d", "B", "ab", "type", "detail-type", "é", "k\n", 'q"', "\\", " ", "$", "😀", "0"]
WORDS = ["", "a", "b", "ab", "ba", "aab", "abab", "Ab", "AB", "aé", "É", "éa", "*", "a*b", "\\", "a\\b", '"', 'a"b']
WORDS += ["x", "7", "true", "null", "a/b", "\n", "😀", "a😀b", "日本", "ß", "k", "ж", "10.0.0.0/8", "a.b"]
LETTERS = ["a", "b", "A", "é", "*", "\\", '"', "😀", "ab", "日", "\t"]
NUMBERS = ["0", "1", "-1", "2", "7", "10", "100", "0.5", "-0.5", "7.25", "301.8", "1e2", "1e-7", "123456", "-273.15"]
NUMBERS += ["9007199254740991", "-9007199254740992", "1e15", "1e22", "1e300", "-1e300", "0.1", "0.3", "128"]
NUMBERS += ["2.2250738585072014e-308", "4294967296", "127", "1e-300", "0.30000000000000004"]
V4 = [
    "10.0.0.1",
    "10.0.0.255",
    "10.1.2.3",
    "10.255.255.255",
    "11.0.0.0",
    "172.16.0.1",
    "255.255.255.255",
    "192.168.1.9",
]
V6 = ["::", "::1", "2001:db8::1", "2001:db8:0:0:0:0:0:1", "2001:DB8::FFFF", "fe80::1", "ff00::", "2001:db9::"]
NOT_IP = ["10.0.0", "10.0.0.1.", "10.0.0.256", "1::2::3", "10.0.0.1/8", " 10.0.0.1", ":", "g::1"]
V4_BLOCKS = ["10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/31", "160.0.0.0/3", "192.168.0.0/16", "10.1.2.3/30"]
V6_BLOCKS = ["2001:db8::/32", "e000::/3", "::/127", "2001:db8::/112", "fe80::/10", "2001:db8::1/64", "ff00::/9"]


def spell(rng: random.Random, number: str) -> str:
    """The same value in another text."""
    mantissa, _, exponent = number.lower().partition("e")
    if exponent:
        return rng.choice([number, f"{mantissa}E{exponent}", f"{mantissa}e{exponent}"])
    whole, _, fraction = mantissa.partition(".")
    forms = [number, number, f"{whole}.{fraction}0", f"{mantissa}e0", f"{mantissa}E+00"]
    if not fraction:
        forms += [f"{whole}0e-1", f"{whole}000E-3"] if whole not in ("0", "-0") else ["-0", "0e99", "-0.0"]
    return rng.choice(forms)


def neighbour(rng: random.Random, number: str) -> str:
    """A value near to it that a double holds exactly as written."""
    value = float(number)
    shifts: list[Callable[[float], float]] = [
        lambda x: x + 1,
        lambda x: x - 1,
        lambda x: x + 0.5,
        lambda x: -x,
        lambda x: x * 10,
        lambda x: x / 2,
    ]
    for _ in range(3):
        other = rng.choice(shifts)(value)
        if abs(other) < 1e16:
            text = repr(other)
            return text.removesuffix(".0") if rng.random() < 0.5 else text
    return number


def folding(text: str) -> str:
    """Without what Event Ruler cannot fold: it takes UTF-16 units one by one."""
    return text.replace("😀", "e")


def edge(kind: str, text: str) -> str:
    """Without a quote at the open end: there Event Ruler takes it for the one that ends the string."""
    return text.rstrip('"') if kind == "prefix" else text.lstrip('"') if kind == "suffix" else text


def swap_case(rng: random.Random, text: str) -> str:
    """ASCII and é only: of the rest, folding is ours."""
    return "".join(c.swapcase() if c in "abAtdeykéÉ" and rng.random() < 0.5 else c for c in text)


def word(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(WORDS)
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(0, 5)))


def scalar(rng: random.Random) -> Json:
    match rng.randrange(10):
        case 0:
            return None
        case 1:
            return rng.random() < 0.5
        case 2 | 3 | 4:
            return Number(spell(rng, rng.choice(NUMBERS)))
        case 5:
            return rng.choice(V4 + V6 + NOT_IP)
        case _:
            return word(rng)


def wildcard(rng: random.Random) -> tuple[str, list[str]]:
    """A wildcard, and texts that it matches."""
    pieces = [rng.choice([*LETTERS, "", "aba", "bab"]) for _ in range(rng.randint(1, 4))]
    source, texts, star = "", [""] * 3, False
    for index, piece in enumerate(pieces):
        literal = piece.replace("\\", "\\\\").replace("*", "\\*")
        source += literal
        star = star and not piece
        texts = [text + piece for text in texts]
        if not star and (index + 1 < len(pieces) or rng.random() < 0.5):
            source += "*"
            star = True
            texts = [text + rng.choice(["", "", "a", "ab", "ba", "é", "*", piece]) for text in texts]
    return source, texts


@dataclass
class Pool:
    """Values that the predicates of one path were made for."""

    values: list[Json] = field(default_factory=list)
    predicates: list[tuple[Json, str]] = field(default_factory=list)
    """Those made so far, with what they use: rules share some."""

    def draw(self, rng: random.Random) -> Json:
        return rng.choice(self.values) if self.values and rng.random() < 0.8 else scalar(rng)


class Predicates:
    """Makes predicates, and fills a pool with what they match, or nearly match."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.used: set[str] = set()
        self._last = ""

    def one(self, pool: Pool) -> Json:
        rng = self.rng
        if pool.predicates and rng.random() < 0.35:
            predicate, feature = rng.choice(pool.predicates)
            self._use(feature)
            return predicate
        makers = [
            self.exact,
            self.exact,
            self.affix,
            self.affix,
            self.ignore_case,
            self.wildcard,
            self.anything_but,
            self.anything_but,
            self.numeric,
            self.numeric,
            self.cidr,
            self.exists,
        ]
        predicate = rng.choice(makers)(pool)
        pool.predicates.append((predicate, self._last))
        return predicate

    def _use(self, name: str) -> None:
        self._last = name
        self.used.add(name)

    def exact(self, pool: Pool) -> Json:
        value = pool.draw(self.rng) if self.rng.random() < 0.5 else scalar(self.rng)
        if isinstance(value, str) and (value in V4 + V6 or "::" in value):
            value = "x"  # Event Ruler compares addresses by value: in `differences.py`.
        if isinstance(value, Number):
            self._use("exact number")
            pool.values += [Number(spell(self.rng, value.text)), value.text]
        else:
            self._use(f"exact {'null' if value is None else type(value).__name__}")
            pool.values.append(value)
        return value

    def affix(self, pool: Pool) -> Json:
        rng = self.rng
        name = rng.choice(["prefix", "suffix"])
        text = edge(name, word(rng))
        rest = word(rng)
        if rng.random() < 0.35:
            text = folding(text)
            self._use(f"{name} equals-ignore-case")
            folded = swap_case(rng, text)
            pool.values.append(folded + rest if name == "prefix" else rest + folded)
            return {name: {"equals-ignore-case": text}}
        self._use(name)
        pool.values.append(text + rest if name == "prefix" else rest + text)
        return {name: text}

    def ignore_case(self, pool: Pool) -> Json:
        text = folding(word(self.rng))
        self._use("equals-ignore-case")
        pool.values += [swap_case(self.rng, text), text]
        return {"equals-ignore-case": text}

    def wildcard(self, pool: Pool) -> Json:
        source, texts = wildcard(self.rng)
        self._use("wildcard")
        pool.values += [*texts[:2], texts[2] + self.rng.choice(["a", "b", ""])]
        return {"wildcard": source}

    def _anything_but_text(self, kind: str, pool: Pool) -> str:
        rng = self.rng
        if kind == "wildcard":
            source, texts = wildcard(rng)
            pool.values.append(texts[0])
            return source
        text = edge(kind, word(rng)) or "a"
        match kind:
            case "prefix":
                pool.values.append(text + word(rng))
            case "suffix":
                pool.values.append(word(rng) + text)
            case _:
                text = folding(text)
                pool.values.append(swap_case(rng, text))
        return text

    def anything_but(self, pool: Pool) -> Json:
        rng = self.rng
        kind = rng.choice(["string", "number", "prefix", "suffix", "equals-ignore-case", "wildcard"])
        several = rng.random() < 0.5
        self._use(f"anything-but {kind}{' list' if several else ''}")
        count = rng.randint(1, 3) if several else 1
        operands: list[Json] = []
        for _ in range(count):
            if kind == "string":
                value = word(rng)
                pool.values.append(value)
                operands.append(value)
            elif kind == "number":
                number = rng.choice(NUMBERS)
                pool.values.append(Number(spell(rng, number)))
                operands.append(Number(spell(rng, number)))
            else:
                operands.append(self._anything_but_text(kind, pool))
        pool.values.append(scalar(rng))
        operand: Json = operands if several else operands[0]
        return {"anything-but": operand if kind in ("string", "number") else {kind: operand}}

    def numeric(self, pool: Pool) -> Json:
        rng = self.rng
        first = rng.choice(NUMBERS)
        texts = [first, neighbour(rng, first), neighbour(rng, first)]
        operand: list[Json]
        if rng.random() < 0.5:
            op = rng.choice(["=", "<", "<=", ">", ">="])
            self._use(f"numeric {op}")
            operand = [op, Number(spell(rng, first))]
        else:
            bottom, top = sorted((first, rng.choice(NUMBERS)), key=float)
            if float(bottom) == float(top):
                return self.numeric(pool)
            self._use("numeric range")
            texts += [bottom, top, neighbour(rng, top)]
            operand = [rng.choice([">", ">="]), Number(spell(rng, bottom))]
            operand += [rng.choice(["<", "<="]), Number(spell(rng, top))]
        pool.values += [Number(spell(rng, text)) for text in texts]
        return {"numeric": operand}

    def cidr(self, pool: Pool) -> Json:
        rng = self.rng
        version = rng.choice([4, 6])
        self._use(f"cidr v{version}")
        pool.values += [rng.choice(V4), rng.choice(V6), rng.choice(V4 if version == 4 else V6), rng.choice(NOT_IP)]
        return {"cidr": rng.choice(V4_BLOCKS if version == 4 else V6_BLOCKS)}

    def exists(self, pool: Pool) -> Json:
        wanted = self.rng.random() < 0.5
        self._use(f"exists {str(wanted).lower()}")
        return {"exists": wanted}


Tree: TypeAlias = dict[str, "Tree"]
"""Keys to keys; a leaf is an empty mapping."""


def schema(rng: random.Random, depth: int = 0) -> Tree:
    keys = rng.sample(KEYS, rng.randint(1 if depth else 2, 3))
    return {key: schema(rng, depth + 1) if depth < 2 and rng.random() < 0.45 else {} for key in keys}


class Rules:
    def __init__(self, rng: random.Random, tree: Tree, pools: dict[Path, Pool]) -> None:
        self.rng, self.tree, self.pools = rng, tree, pools

    def one(self) -> tuple[Json, set[str]]:
        self.predicates = Predicates(self.rng)
        self.depth = 0
        return self._object(self.tree, ()), self.predicates.used

    def _object(self, tree: Tree, path: Path, *, budget: int = 2) -> dict[str, Json]:
        """A conjunction. A path is never both beside `$or` and inside it: then Event Ruler lets the later one win."""
        rng = self.rng
        keys = rng.sample(sorted(tree), min(len(tree), rng.choice([1, 1, 1, 2, 2, 3])))
        either: list[str] = []
        if self.depth < 2 and rng.random() < 0.22:
            cut = rng.randint(1, len(keys))
            either, keys = keys[:cut], keys[cut:]
        out: dict[str, Json] = {key: self._field(tree[key], (*path, key)) for key in keys}
        if either:
            self.predicates.used.add("$or in $or" if self.depth else "$or in an object" if path else "$or")
            if keys:
                self.predicates.used.add("$or beside fields")
            self.depth += 1
            branches: list[Json] = []
            for _ in range(rng.randint(2, 3)):
                chosen = {key: tree[key] for key in rng.sample(either, rng.randint(1, len(either)))}
                branches.append(self._object(chosen, path))
            self.depth -= 1
            items = list(out.items())
            items.insert(rng.randint(0, len(items)), ("$or", branches))
            out = dict(items)
        return out

    def _field(self, tree: Tree, path: Path) -> Json:
        if tree and self.rng.random() < 0.9:
            return self._object(tree, path)
        pool = self.pools.setdefault(path, Pool())
        return [self.predicates.one(pool) for _ in range(self.rng.choice([1, 1, 2, 2, 3]))]


class Events:
    def __init__(self, rng: random.Random, tree: Tree, pools: dict[Path, Pool]) -> None:
        self.rng, self.tree, self.pools = rng, tree, pools

    def one(self) -> Json:
        out = self._object(self.tree, ())
        if self.rng.random() < 0.2:
            untested: list[Json] = [{"a": ["x"]}, [], "ab", Number("1e999")]
            out[self.rng.choice(["other", "zz"])] = self.rng.choice(untested)
        return out

    def _object(self, tree: Tree, path: Path) -> dict[str, Json]:
        rng = self.rng
        keys = [key for key in tree if rng.random() < 0.92]
        rng.shuffle(keys)
        return {key: self._value(tree[key], (*path, key)) for key in keys}

    def _value(self, tree: Tree, path: Path, nested: int = 0) -> Json:
        rng = self.rng
        chance = rng.random()
        if chance < 0.05:
            empty: list[Json] = [{}, [], [[]], [{}], {"zz": {}}]
            return rng.choice(empty)
        if nested < 3 and chance < 0.45:
            return [self._value(tree, path, nested + 1) for _ in range(rng.choice([0, 1, 2, 2, 3, 4]))]
        if tree and chance < 0.95:
            return self._object(tree, path)
        if not tree and chance > 0.97:
            return {rng.choice(KEYS): scalar(rng)}
        pool = self.pools.get(path) or Pool()
        return pool.draw(rng)


def quoted(rng: random.Random, text: str) -> str:
    """A JSON string, some of its characters escaped without need."""
    out = ['"']
    for c in text:
        chance = rng.random()
        if c in '"\\\n\t' or ord(c) < 0x20:
            out.append(json.dumps(c)[1:-1])
        elif chance < 0.06:
            units = c.encode("utf-16-be")
            hexed = [units[i : i + 2].hex() for i in range(0, len(units), 2)]
            out.append("".join("\\u" + (h.upper() if rng.random() < 0.5 else h) for h in hexed))
        elif c == "/" and chance < 0.5:
            out.append("\\/")
        else:
            out.append(c)
    return "".join([*out, '"'])


def written(rng: random.Random, value: Json) -> str:
    """JSON text."""
    space = rng.choice(["", "", "", " "])
    match value:
        case Number(text):
            return text
        case str():
            return quoted(rng, value)
        case list():
            return "[" + f",{space}".join(written(rng, item) for item in value) + "]"
        case dict():
            inner = (f"{quoted(rng, key)}:{space}{written(rng, item)}" for key, item in value.items())
            return "{" + f",{space}".join(inner) + "}"
        case _:
            return json.dumps(value)


def group(seed: str) -> Group:
    """One group, always the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    tree = schema(rng)
    pools: dict[Path, Pool] = {}
    rules = Rules(rng, tree, pools)
    made = [rules.one() for _ in range(RULES)]
    events = Events(rng, tree, pools)
    return Group(
        rules=[written(rng, rule) for rule, _ in made],
        events=[written(rng, events.one()) for _ in range(EVENTS)],
        features=[used for _, used in made],
    )


def groups(seed: str, count: int) -> Iterator[Group]:
    return (group(f"{seed}-{number}") for number in range(count))
