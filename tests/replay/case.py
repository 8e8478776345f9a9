"""One case of curl's suite: its sections, with variables put in (its FILEFORMAT.md)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

FEATURES = set(
    """
    brotli cookies crypto HTTP-auth http/2 idn ipv6 large_file libz Mime proxy PSL SSL
    threaded-resolver unix-sockets UnixSockets verbose-strings xattr zstd http headers-api
    """.split()
)
"""What the expected texts may assume of the client."""

_OPENING = re.compile(rb"^[ \t]*<([a-zA-Z]+[0-9]*)((?:\s+[a-z0-9]+=\"[^\"]*\")*)\s*>[ \t]*\r?\n?$")


@dataclass
class Section:
    """The text between two tags."""

    text: bytes
    attributes: dict[str, str] = field(default_factory=dict)


class Case:
    """The sections of one file, by name; repeated ones in a list."""

    def __init__(self, path: Path, variables: dict[str, str]) -> None:
        self.number = int(re.sub(r"\D", "", path.name))
        variables = {**variables, "TESTNUMBER": str(self.number)}
        self.sections: dict[str, list[Section]] = {}
        self._read(path.read_bytes(), variables)

    def get(self, name: str) -> Section | None:
        """The only section of that name."""
        found = self.sections.get(name)
        return found[0] if found else None

    def everything(self) -> list[bytes]:
        """The texts of all sections."""
        return [section.text for found in self.sections.values() for section in found]

    def text(self, name: str) -> str:
        """The words of a section, or nothing."""
        found = self.get(name)
        return found.text.decode("latin-1").strip() if found else ""

    def body(self, name: str) -> bytes | None:
        """A section as bytes for the wire: decoded, newlines mended, as its attributes say."""
        found = self.get(name)
        if found is None:
            return None
        text = found.text
        if found.attributes.get("base64") == "yes":
            return base64.b64decode(text)
        if found.attributes.get("hex") == "yes":
            return bytes.fromhex(text.decode())
        if found.attributes.get("crlf") == "yes":
            text = _crlf_in_heads(text)
        if found.attributes.get("nonewline") == "yes":
            text = re.sub(rb"\r?\n\Z", b"", text)
        return text

    def _read(self, raw: bytes, variables: dict[str, str]) -> None:
        name, attributes, lines, showing = "", {}, [], True
        for line in raw.splitlines(keepends=True):
            if condition := re.match(rb"^ *%if (!?)(\S+)", line):
                showing = (condition[2].decode() in FEATURES) != bool(condition[1])
                continue
            if re.match(rb"^ *%else", line):
                showing = not showing
                continue
            if re.match(rb"^ *%endif", line):
                showing = True
                continue
            if not showing:
                continue
            if name and re.match(rb"^[ \t]*</" + name.encode() + rb">", line):
                text = substitute(b"".join(lines), variables)
                self.sections.setdefault(name, []).append(Section(text, attributes))
                name = ""
            elif name:
                lines.append(line)
            elif (opening := _OPENING.match(line)) and opening[1] not in _CONTAINERS:
                name, lines = opening[1].decode(), []
                found = re.findall(r'([a-z0-9]+)="([^"]*)"', opening[2].decode())
                attributes = {
                    key: substitute(value.encode(), variables).decode() for key, value in found
                }


_CONTAINERS = {b"testcase", b"info", b"reply", b"client", b"verify"}


def substitute(text: bytes, variables: dict[str, str]) -> bytes:
    """Put the values of ``%NAME``, ``%hex[…]hex%``, ``%b64[…]b64%`` and ``%repeat[…]%`` in."""
    # A host whose last label is a number is none by the URL standard; the number there is for
    # curl's server, which has to find the case by it.
    text = re.sub(rb"(?<=[a-z]\.)%TESTNUMBER(?=[:/? \r\n]|$)", b"t%TESTNUMBER", text)
    names = sorted(variables, key=len, reverse=True)
    pattern = b"%(" + b"|".join(name.encode() for name in names) + b")"
    text = re.sub(pattern, lambda found: variables[found[1].decode()].encode("latin-1"), text)
    text = re.sub(rb"%b64\[(.*?)\]b64%", lambda it: base64.b64encode(_unescape(it[1])), text)
    text = re.sub(rb"%hex\[(.*?)\]hex%", lambda it: _unescape(it[1]), text)
    repeat = rb"%repeat\[(\d+) x (.*?)\]%"
    return re.sub(repeat, lambda it: _unescape(it[2]) * int(it[1]), text)


def _unescape(text: bytes) -> bytes:
    return re.sub(rb"%([0-9a-fA-F]{2})", lambda it: bytes.fromhex(it[1].decode()), text)


def _crlf_in_heads(text: bytes) -> bytes:
    lines, in_head = [], False
    for line in text.splitlines(keepends=True):
        head = re.match(rb"HTTP/(1\.1|1\.0|2|3) [1-5]|[A-Z]+ \S+ HTTP/\d", line) or re.match(
            rb"[a-z0-9_-]+: [^\r]*\n?\Z", line, re.IGNORECASE
        )
        ends = in_head and line in (b"\n", b"\r\n")
        mend = (head or ends) and not line.endswith(b"\r\n")
        lines.append(line.rstrip(b"\n") + b"\r\n" if mend else line)
        in_head = bool(head)
    return b"".join(lines)
