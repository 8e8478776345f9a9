"""The options of curl's command line, read as curl reads them; what is beyond offloop is named."""

from __future__ import annotations

import re
from pathlib import Path

from .case import Case


class Inexpressible(Exception):
    """Offloop has no option for this, or the case is about curl's tool and not about HTTP."""


_FLAGS = """
    nothing: -s --silent -S --show-error -sS -i --include -g --globoff --no-progress-meter -v -#
        --no-include -q --disable --fail-early --no-keepalive --tcp-nodelay --http1.1 --basic
        --no-clobber --clobber --no-buffer --styled-output --ssl-revoke-best-effort -R --remote-time
        -O --remote-name -J -Ji -OJ --remote-name-all --xattr --suppress-connect-headers
        --create-dirs --no-http0.9 --no-remote-name --ipv4 -4 --ipv6 -6 --tcp-fastopen --raw
        --compressed-ssh --proxy-basic --no-sessionid
    get: -G --get
    head: -I --head
    digest: --digest
    anyauth: --anyauth
    location: -L --location
    compressed: --compressed
    fail: -f --fail --fail-with-body
    insecure: -k --insecure
    junk: -j --junk-session-cookies
"""
"""What each option is called here; "nothing" is of no concern on the wire."""

_VALUES = """
    nothing: -o --output -D --dump-header -w --write-out --stderr --trace --trace-ascii
        --output-dir --libcurl --keepalive-time --interface --limit-rate
        --happy-eyeballs-timeout-ms --create-file-mode --retry-delay --retry-max-time
        --connect-timeout
    header: -H --header
    method: -X --request
    data: -d --data --data-ascii
    binary: --data-binary --data-raw
    urlencode: --data-urlencode
    json: --json
    query: --url-query
    form: -F --form
    form_string: --form-string
    upload: -T --upload-file
    user: -u --user
    bearer: --oauth2-bearer
    max_redirects: --max-redirs
    range: -r --range
    resume: -C --continue-at
    since: -z --time-cond
    cookie: -b --cookie
    jar: -c --cookie-jar
    proxy: -x --proxy --proxy1.0
    proxy_user: -U --proxy-user
    noproxy: --noproxy
    timeout: -m --max-time
    agent: -A --user-agent
    referer: -e --referer
    max_body: --max-filesize
    resolve: --resolve
    connect_to: --connect-to
    retries: --retry
    uds: --unix-socket
    url: --url
    cacert: --cacert
    socks5: --socks5
    socks5h: --socks5-hostname
    config: -K --config
"""
"""As `_FLAGS`, for options that take a value."""


def _table(text: str, *, takes_value: bool) -> dict[str, tuple[bool, str]]:
    table, meaning = {}, ""
    for word in text.split():
        if word.endswith(":"):
            meaning = word[:-1]
        else:
            table[word] = (takes_value, meaning)
    return table


_OPTIONS = _table(_FLAGS, takes_value=False) | _table(_VALUES, takes_value=True)


class Options:
    """The options of one operation, each with all its values, and the URLs."""

    def __init__(self, case: Case, words: list[str]) -> None:
        self.given: dict[str, list[str]] = {}
        self.urls: list[str] = []
        self._read(case, words)

    def _read(self, case: Case, words: list[str]) -> None:
        waiting = iter(words)
        for word in waiting:
            if not word.startswith("-") or word == "-":
                self.urls.append(word)
                continue
            name, value = word, None
            if word not in _OPTIONS and not word.startswith("--") and word[:2] in _OPTIONS:
                name, value = word[:2], word[2:]
                if not _OPTIONS[name][0]:
                    raise Inexpressible(f"option {word}")
            if name not in _OPTIONS:
                raise Inexpressible(f"option {name}")
            takes, means = _OPTIONS[name]
            if takes and value is None:
                value = next(waiting, "")
            if means == "url":
                self.urls.append(value or "")
            elif means == "config":
                self._config(case, value or "")
            elif means != "nothing":
                self.given.setdefault(means, []).append(value or "")

    def _config(self, case: Case, name: str) -> None:
        text = (file(case, name) or b"").decode("latin-1")
        words = []
        for line in text.splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            found = re.match(r"(-?-?[\w-]+)(?:\s*[=:]\s*|\s+|$)(.*)", line)
            if not found:
                raise Inexpressible("an odd config file")
            key = found[1] if found[1].startswith("-") else "--" + found[1]
            words.append(key)
            if found[2]:
                value = found[2]
                if value.startswith('"'):
                    end = re.match(r'"((?:\\.|[^"\\])*)"', value)
                    value = re.sub(
                        r"\\(.)",
                        lambda it: {"n": "\n", "t": "\t", "r": "\r"}.get(it[1], it[1]),
                        end[1] if end else value,
                    )
                words.append(value)
        self._read(case, words)

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def all(self, name: str) -> list[str]:
        return self.given.get(name, [])

    def last(self, name: str) -> str | None:
        return self.given[name][-1] if name in self.given else None


def file(case: Case, name: str) -> bytes | None:
    """A file that the case lays out, or what stands on the client's input."""
    if name == "-":
        return case.body("stdin")
    for key in ("file", "file1", "file2", "file3", "file4"):
        for section in case.sections.get(key, []):
            if Path(section.attributes.get("name", "")).name == Path(name).name:
                text = section.text
                if section.attributes.get("nonewline") == "yes":
                    text = re.sub(rb"\r?\n\Z", b"", text)
                return text
    return None
