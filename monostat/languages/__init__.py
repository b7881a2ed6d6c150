"""The catalogues: what the public reads, a file for each language.

`load_words` reads one; nothing of ours may be imported here but `core`.
"""

import tomllib
from importlib.resources import files

from monostat.core.words import Words

LANGUAGES = tuple(
    sorted(
        path.name.removesuffix(".toml")
        for path in files(__name__).iterdir()
        if path.name.endswith(".toml")
    )
)


def catalogue(language: str) -> str:
    """The text of a catalogue; raises FileNotFoundError for what is none of `LANGUAGES`."""
    return (files(__name__) / f"{language}.toml").read_text("utf-8")


def load_words(language: str) -> Words:
    """The words of one of `LANGUAGES`; raises FileNotFoundError for any other."""
    return Words(language, tomllib.loads(catalogue(language)))
