"""Documents, read as `monostat import` reads them."""

from datetime import datetime

from monostat.history.fields import Reading
from monostat.history.reading import arrange, read_one


def read(document: bytes, read_at: datetime) -> Reading:
    reading = Reading(read_at)
    read_one(reading, document)
    arrange(reading)
    return reading
