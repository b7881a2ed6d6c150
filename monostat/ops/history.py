"""`monostat import` and `monostat export`: the command reads and writes, the daemon keeps."""

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from monostat.core.events import Record
from monostat.history.fields import Reading, Unreadable
from monostat.history.reading import arrange, read_one
from monostat.ops import daemon
from monostat.ops.control_client import NoDaemon, ask
from monostat.ops.fetching import Unreachable, documents_of
from monostat.ops.shell import tell, user_name

BATCH = 100  # records that are taken in one transaction
BATCH_TEXT = 1_000_000  # characters in one
OFTEN = 500  # records between two words of progress
RUN_AGAIN = "Correct that and run this command again: it carries on where it stopped."


class Failed(Exception):
    """The command ends with this sentence, and with the `exit_code`."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def import_history(arguments: Namespace) -> int:
    """Reads history from elsewhere, says what cannot come, and has the daemon take the rest.

    The exit code: 1 where nothing can be read or taken, 69 where somebody does not answer, 77
    without permission.
    """
    try:
        reading = read_all(arguments.sources)
        tell(*summary_of(reading))
        if arguments.dry_run:
            tell(*preview_of(reading, sockets(arguments)))
        else:
            send_records(reading.records, sockets(arguments))
    except Failed as failure:
        tell(f"monostat: {failure}", to=sys.stderr)
        return failure.exit_code
    if reading.hints:
        tell(*reading.hints)
    return 0


def export(arguments: Namespace) -> int:
    """Writes all public history as Statuspage has it; exit codes as `import_history`."""
    try:
        rows = ask_daemon(sockets(arguments), "GET", "/export", {})
        lines = ",\n".join(json.dumps(row) for row in rows)
        text = f"[{lines}]\n"
        if arguments.file is None:
            print(text, end="")
            return 0
        arguments.file.write_text(text, "utf-8")
    except OSError as error:
        tell(f"monostat: {arguments.file}: {error.strerror}", to=sys.stderr)
        return code_of(error)
    except Failed as failure:
        tell(f"monostat: {failure}", to=sys.stderr)
        return failure.exit_code
    tell(f"{arguments.file}: {in_words(len(rows))}")
    return 0


def sockets(arguments: Namespace) -> list[Path]:
    """Where the daemon may listen."""
    settings = daemon.read_leniently(arguments.config, os.environ)
    return daemon.control_sockets(settings)


def ask_daemon(paths: list[Path], method: str, address: str, body: dict[str, Any]) -> Any:
    """What the daemon answers; raises Failed where none does."""
    try:
        return ask(paths, method, address, body)
    except NoDaemon as error:
        raise Failed(str(error), os.EX_UNAVAILABLE) from error


def code_of(error: OSError) -> int:
    """The exit code of a file that cannot be read or written."""
    if isinstance(error, PermissionError):
        return os.EX_NOPERM
    return 1


def read_all(sources: list[str]) -> Reading:
    """What all of the files and addresses hold; raises Failed for the first that cannot be read."""
    reading = Reading(datetime.now(UTC))
    for source in sources:
        try:
            for document in documents_of(source):
                read_one(reading, document)
        except Unreachable as problem:
            raise Failed(str(problem), os.EX_UNAVAILABLE) from problem
        except Unreadable as problem:
            raise Failed(f"{source}: {problem}") from problem
        except FileNotFoundError as error:
            advice = "The address of a page begins with https://."
            raise Failed(f"{source}: {error.strerror}. {advice}") from error
        except OSError as error:
            raise Failed(f"{source}: {error.strerror}", code_of(error)) from error
    arrange(reading)
    return reading


def summary_of(reading: Reading) -> Iterator[str]:
    """What was read, and a line for each thing that cannot come, or comes changed."""
    yield f"Read: {in_words(len(reading.records))} that can be imported."
    for title, lines in (("Left out", reading.left_out), ("Changed", reading.changed)):
        if lines:
            yield f"{title}:"
            yield from (f"  {line}" for line in lines)


def preview_of(reading: Reading, paths: list[Path]) -> Iterator[str]:
    """A line for each that would come, or is here already."""
    sources = [record.source for record in reading.records]
    known: list[str] = []
    doubt = ""
    try:
        known = ask_daemon(paths, "POST", "/known", {"sources": sources})
    except Failed:
        doubt = " Whether any are here already is unknown: no daemon answers."
    for record in reading.records:
        fate = "is here already" if record.source in known else "would be imported"
        start = f"{record.started_at:%Y-%m-%d %H:%M} UTC"
        yield f"  {fate}: {start}  {record.severity.label}: {record.title} ({record.source})"
    yield f"Nothing was imported: this was a dry run.{doubt}"


def send_records(records: list[Record], paths: list[Path]) -> None:
    """Has the daemon take the records, batch by batch; raises Failed where it does not."""
    added = 0
    done = 0
    batches = list(batches_of(records)) or [[]]
    for number, batch in enumerate(batches, start=1):
        body = {
            "records": to_jsonable_python(batch),
            "by": user_name(),
            "added": added,
            "last": number == len(batches),
        }
        try:
            added = send_batch(paths, body)
        except Failed as failure:
            if not done:
                raise
            problem = f"after {done:,} of {len(records):,}: {failure} {RUN_AGAIN}"
            raise Failed(problem, os.EX_UNAVAILABLE) from failure
        before = done // OFTEN
        done += len(batch)
        if len(records) > OFTEN and done // OFTEN > before:
            tell(f"{done:,} of {len(records):,} …", to=sys.stderr)
    said = f"Imported: {in_words(added)}."
    if added < len(records):
        said += f" Here already: {len(records) - added:,}."
    tell(said)


def send_batch(paths: list[Path], body: dict[str, Any]) -> int:
    """How many incidents are added with this batch; raises Failed where it is not taken."""
    answer = ask_daemon(paths, "POST", "/import", body)
    if answer["refused"]:
        raise Failed(answer["refused"])
    return int(answer["added"])


def batches_of(records: list[Record]) -> Iterator[list[Record]]:
    """The records in portions that the daemon saves in one go."""
    batch: list[Record] = []
    size = 0
    for record in records:
        length = len(record.summary) + sum(len(said.text) for said in record.updates)
        if batch and (len(batch) == BATCH or size + length > BATCH_TEXT):
            yield batch
            batch = []
            size = 0
        batch.append(record)
        size += length
    if batch:
        yield batch


def in_words(number: int) -> str:
    """So many incidents, in words."""
    if number == 1:
        return "1 incident"
    return f"{number:,} incidents"
