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


def load_words(language: str) -> Words:
    """The words of one of `LANGUAGES`; raises FileNotFoundError for any other."""
    text = (files(__name__) / f"{language}.toml").read_text("utf-8")
    return Words(language, tomllib.loads(text))
