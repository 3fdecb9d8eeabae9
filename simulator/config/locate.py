"""Where each key of a TOML text stands, so that an error can point at its line.

`tomllib` keeps no positions. This scanner assumes a text that `tomllib` accepts: it only follows headers,
keys, and where a value ends. Keys inside an inline table are not followed; ask for their parent.
"""

from dataclasses import dataclass

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """A key's position: line and column count from 1, width in characters."""

    line: int
    column: int
    width: int


def locate_keys(text: str) -> dict[KeyPath, Place]:
    """The place of every header and key; an array of tables counts its tables by index."""
    return _Scanner(text).scan()


def find(places: dict[KeyPath, Place], path: KeyPath) -> tuple[int, Place | None]:
    """How many parts of the key the text has, and the place of that key or parent; (0, None) when none."""
    for end in range(len(path), 0, -1):
        if path[:end] in places:
            return end, places[path[:end]]
    return 0, None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.line_start = 0
        self.table: KeyPath = ()
        self.array_lengths: dict[KeyPath, int] = {}
        self.places: dict[KeyPath, Place] = {}

    def scan(self) -> dict[KeyPath, Place]:
        while self._skip_blank():
            if self._peek() == "[":
                self._header()
            else:
                path, place = self._key()
                self._note(self.table, path, place)
                self._value()
        return self.places

    def _peek(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def _advance(self, count: int = 1) -> None:
        for character in self._peek(count):
            self.at += 1
            if character == "\n":
                self.line += 1
                self.line_start = self.at

    def _skip_blank(self) -> bool:
        """Move past spaces, line ends and comments; False at the end of the text."""
        while self.at < len(self.text):
            if self._peek() == "#":
                self._skip_comment()
            elif self._peek().isspace():
                self._advance()
            else:
                return True
        return False

    def _skip_comment(self) -> None:
        while self.at < len(self.text) and self._peek() != "\n":
            self._advance()

    def _header(self) -> None:
        brackets = 2 if self._peek(2) == "[[" else 1
        self._advance(brackets)
        self._skip_spaces()
        parts, place = self._key()
        self._skip_spaces()
        self._advance(brackets)
        # A table of an array's last element: [[a]] then [a.b] is a, index, b.
        path: KeyPath = ()
        for i, part in enumerate(parts):
            path = (*path, part)
            last = i == len(parts) - 1
            if brackets == 2 and last:
                self.places.setdefault(path, place)
                self.array_lengths[path] = self.array_lengths.get(path, 0) + 1
            if path in self.array_lengths:
                path = (*path, self.array_lengths[path] - 1)
        self.table = path
        # Before setdefault of the parents: [arms.control] is also the best place for `arms`.
        self._note((), path, place)

    def _note(self, table: KeyPath, path: KeyPath, place: Place) -> None:
        whole = (*table, *path)
        for end in range(1, len(whole)):
            self.places.setdefault(whole[:end], place)
        self.places[whole] = place

    def _key(self) -> tuple[KeyPath, Place]:
        """A dotted key; its place covers all of its parts."""
        line, column, start = self.line, self.at - self.line_start + 1, self.at
        parts: list[str | int] = []
        while True:
            parts.append(self._key_part())
            end = self.at
            self._skip_spaces()
            if self._peek() != ".":
                break
            self._advance()
            self._skip_spaces()
        return tuple(parts), Place(line, column, max(1, end - start))

    def _key_part(self) -> str:
        start = self.at
        if self._peek() in ('"', "'") and self._peek():
            self._string()
            return self.text[start + 1 : self.at - 1]
        while self.at < len(self.text) and (self._peek().isalnum() or self._peek() in "_-"):
            self._advance()
        if self.at == start:  # Not TOML; step over it rather than stand still.
            self._advance()
        return self.text[start : self.at]

    def _skip_spaces(self) -> None:
        while self._peek() and self._peek() in " \t":
            self._advance()

    def _value(self) -> None:
        """Move past `= value`: to the end of the first line at which no bracket is open."""
        depth = 0
        while self.at < len(self.text):
            character = self._peek()
            if character in "\"'":
                self._string()
            elif character == "#":
                self._skip_comment()
            else:
                depth += (character in "[{") - (character in "]}")
                self._advance()
                if character == "\n" and depth <= 0:
                    return

    def _string(self) -> None:
        quote = self._peek()
        fence = quote * 3 if self._peek(3) == quote * 3 else quote
        self._advance(len(fence))
        while self.at < len(self.text) and self._peek(len(fence)) != fence:
            self._advance(2 if quote == '"' and self._peek() == "\\" else 1)
        self._advance(len(fence))
        # A multi-line string may end in up to two quotes of its own: """a"" """.
        while len(fence) == 3 and self._peek() == quote:
            self._advance()
