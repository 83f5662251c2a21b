"""The log as other programs read it: every episode as one row, as lines of JSON or as a Parquet file.

    python run_meta.py hard-tasks checkpoints/omniglot --format jsonl --out log.jsonl

docs/log.md describes the columns, which are the fields of `SolvedEpisode`. Whoever changes their meaning
raises VERSION. Memory does not grow with the number of episodes.
"""

import json
import math
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from mtl.errors import UserError, one_line
from mtl.ledger.store import Ledger
from mtl.ledger.task_history import SolvedEpisode, solved_episodes
from mtl.runtime.outputs import replacing, require_free
from mtl.runtime.process import reader_gone
from mtl.runtime.progress import Count

SCHEMA, VERSION = "hard-task-log", 1
_CHUNK = 1000  # episodes written at a time


def header(ledger: Ledger) -> dict[str, Any]:
    """What a log says of itself: the first line of JSON, or the metadata of Parquet."""
    phases = [{"phase": p.name, "split": p.split, "episodes": p.episodes} for p in ledger.phases()]
    return {"schema": SCHEMA, "version": VERSION, "images": ledger.images(), "phases": phases}


def plain_episode(episode: SolvedEpisode) -> dict[str, Any]:
    """One row of the log."""
    row = {name: finite(value) for name, value in vars(episode).items()}
    return row | {"wrong": None if episode.wrong is None else [vars(answer) for answer in episode.wrong]}


def finite(value: Any) -> Any:
    """A figure that is not finite counts as unknown, since JSON has no word for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_jsonl(ledger: Ledger, out: TextIO, progress: Count | None = None) -> None:
    """The header, then an episode a line; ends early where nobody reads any more."""
    out.write(_line(header(ledger)))
    for rows in _chunks(ledger):
        out.writelines(map(_line, rows))
        if progress is not None:
            progress.add(len(rows))
        if reader_gone(out):
            return


def write_parquet(ledger: Ledger, path: Path, progress: Count) -> None:
    """The same rows as one table, and the header as JSON in its metadata, under the schema's name.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:  # also a pyarrow that is too new for the numpy beside it
        raise UserError(
            f'--format parquet: needs the package pyarrow ({one_line(error)}); pip install "pyarrow<20"'
        ) from None
    lists = pa.list_(pa.list_(pa.int32()))
    wrong = [
        ("image", pa.int32()),
        ("own", pa.int16()),
        ("predicted", pa.int16()),
        ("confidence", pa.float32()),
    ]
    columns = [
        *((name, pa.string()) for name in ("id", "phase", "split")),
        *((name, pa.int32()) for name in ("round", "step")),
        ("origin", pa.string()),
        *((name, pa.int32()) for name in ("stream", "way", "shot", "queries")),
        ("classes", pa.list_(pa.int32())),
        ("names", pa.list_(pa.string())),
        ("support", lists),
        ("query", lists),
        *((name, pa.float32()) for name in ("loss", "accuracy", "hardness", "fisher")),
        ("recall", pa.list_(pa.float32())),
        ("wrong", pa.list_(pa.struct(wrong))),
    ]
    schema = pa.schema(columns, {SCHEMA: json.dumps(header(ledger))})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _chunks(ledger):
            writer.write_table(pa.Table.from_pylist(rows, schema))
            progress.add(len(rows))


def export(ledger: Ledger, format: str, out: Path | None) -> None:
    """Writes the log as "jsonl" or "parquet", whole or not at all; None: lines of JSON to standard output.

    Raises:
        UserError: the file cannot be written there, or a package is missing.
    """
    if out is None:
        if format != "jsonl":
            raise UserError(f"--format {format}: needs --out FILE")
        write_jsonl(ledger, sys.stdout)
        return
    require_free(out, (f".{format}",), overwrite=True)
    episodes = sum(phase.episodes for phase in ledger.phases())
    with Count("export", episodes) as progress, replacing(out.resolve()) as temporary:
        if format == "jsonl":
            with temporary.open("w", encoding="utf-8") as file:
                write_jsonl(ledger, file, progress)
        else:
            write_parquet(ledger, temporary, progress)


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _chunks(ledger: Ledger) -> Iterator[list[dict[str, Any]]]:
    """The rows of all episodes, some at a time."""
    rows = map(plain_episode, solved_episodes(ledger))
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk
