"""A status page for teams that run one monolithic application."""

from pathlib import Path

__version__ = "0.2.0"

_package = Path(__file__).parent
#: Where `templates/` and `static/` lie: inside the package in a wheel, beside it in a checkout.
RESOURCES = _package
if not (_package / "templates").is_dir():
    RESOURCES = _package.parent
