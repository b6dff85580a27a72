"""A course as one file: a tar of its records, the same bytes for the same records, unpacked with care.

Unpacked it is the folder ``SUITE`` as ``halfway report --runs-dir`` reads it: ``course.json`` (what the report needs beside the runs),
``suite.toml``, ``lock.toml``, ``regime/*.parquet``, and per finished run ``spec.json`` and ``ledger.jsonl``. Ledgers are packed by columns.
"""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.course.columns import DECIMALS, columns_of, records_from
from harness.errors import UserError
from harness.records.ledger import LEDGER_NAME, line_of, parse_line
from harness.records.ledger_records import RunStart, from_json, to_json
from harness.records.run_folder import RunPaths
from harness.spec import RunSpec

#: All archives together; a repository is cloned by everybody.
LIMIT_MIB = 10

#: It takes seconds per ten runs.
PRESET = 9 | lzma.PRESET_EXTREME

#: Significant digits of fractions in an archived ledger, and of those which only figures show.
DIGITS = 7
SHOWN_DIGITS = 4
_SHOWN = frozenset({"loss", "importance_ratio", "fresh_log_ratio", "fresh_mean_log_ratio"})
#: Compared with a target, which an accuracy may equal to the last digit: rounded, it would be missed.
_EXACT = frozenset({"accuracy"})

#: What a ledger is called in an archive.
COLUMNS_NAME = "ledger.columns.json"


def packed(members: Mapping[str, bytes], order: Sequence[str] = ()) -> bytes:
    """A tar.xz of ``members`` by name, sorted, without owners; times are 0, or the place in ``order``, which readers sort by.

    Ledgers, as :func:`records_of` gives them, are turned into columns.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(members):
            place, content = name, members[name]
            if PurePosixPath(name).name == LEDGER_NAME:
                place = str(PurePosixPath(name).with_name(COLUMNS_NAME))
                content = columns_of([to_json(parse_line(line)) for line in content.split(b"\n")[:-1]])
            entry = tarfile.TarInfo(place)
            entry.size, entry.mode = len(content), 0o644
            entry.mtime = order.index(name) + 1 if name in order else 0
            tar.addfile(entry, io.BytesIO(content))
    return lzma.compress(buffer.getvalue(), preset=PRESET)


def unpack(archive: Path, output: Path) -> list[str]:
    """Write the files of an archive below ``output`` and return their names.

    Raises UserError for an archive that cannot be read, that holds anything but plain files below one folder, or whose files exist.
    """
    try:
        with tarfile.open(archive, mode="r:xz") as tar:
            entries = tar.getmembers()
            for entry in entries:
                _check_entry(entry, archive)
                if (output / _unpacked(entry.name)).exists():
                    raise UserError(f"{output / _unpacked(entry.name)} exists; unpack {archive.name} into an empty folder")
            output.mkdir(parents=True, exist_ok=True)
            tar.extractall(output, members=entries, filter="data")
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise UserError(f"cannot read the archive {archive}: {getattr(error, 'strerror', None) or error}; pack the course again") from error
    for entry in entries:
        if _unpacked(entry.name) != entry.name:
            _write_ledger(output / entry.name, output / _unpacked(entry.name), archive)
    return [_unpacked(entry.name) for entry in entries]


def _unpacked(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(LEDGER_NAME)) if path.name == COLUMNS_NAME else name


def _write_ledger(columns: Path, ledger: Path, archive: Path) -> None:
    """Make the lines of a ledger, with their checksums, in the place of its columns."""
    try:
        lines = [line_of(from_json(record)) for record in records_from(columns.read_bytes())]
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(f"cannot read {columns.name} of {archive}: {error}; pack the course again") from error
    ledger.write_bytes(b"".join(lines))
    columns.unlink()


def _check_entry(entry: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(entry.name)
    if not entry.isreg() or path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise UserError(f"{archive} holds {entry.name!r}, which is no plain file below the folder of a suite: it is no archive of a course")


def records_of(paths: RunPaths) -> dict[str, bytes]:
    """``spec.json`` and ``ledger.jsonl`` of a run as they are archived.

    Without the folder its suite lay in, which is no part of its identity; fractions but accuracies to ``DIGITS`` digits, seconds to
    ``DECIMALS``: half of an archive would be the digits of seconds beyond the microsecond.
    """
    spec = paths.spec.read_bytes()
    loaded = RunSpec.load(paths.spec)
    if loaded.combination.task.folder:
        task = loaded.combination.task.model_copy(update={"folder": ""})
        combination = loaded.combination.model_copy(update={"task": task})
        spec = (loaded.model_copy(update={"combination": combination}).model_dump_json(indent=2) + "\n").encode()
    records = [parse_line(line) for line in paths.ledger.read_bytes().split(b"\n")[:-1]]
    if records and isinstance(start := records[0], RunStart) and start.spec["combination"]["task"].get("folder"):
        start.spec["combination"]["task"]["folder"] = ""
    lines = [line_of(from_json(_rounded(to_json(record)))) for record in records]
    return {paths.spec.name: spec, paths.ledger.name: b"".join(lines)}


def _rounded(value: Any, key: str = "", digits: int = DIGITS) -> Any:
    """JSON data with its fractions rounded, but for the run's settings, of which its identity is made."""
    match value:
        case float() if key in _EXACT:
            return value
        case float():
            return round(value, DECIMALS) if key.endswith("seconds") else float(f"{value:.{digits}g}")
        case dict() if key == "phases":
            return {phase: _rounded(seconds, "seconds") for phase, seconds in value.items()}
        case dict():
            return {k: v if k == "spec" else _rounded(v, k, SHOWN_DIGITS if k in _SHOWN else digits) for k, v in value.items()}
        case list():
            return [_rounded(item, key, digits) for item in value]
    return value


def check_no_machine_paths(members: Mapping[str, bytes], places: Sequence[Path]) -> None:
    """Raise UserError if a member names one of these folders: others neither have them nor should learn of them."""
    for name, content in members.items():
        found = next((place for place in places if len(place.parts) > 1 and str(place).encode() in content), None)
        if found is not None:
            raise UserError(
                f"{name} names the folder {found} of this machine; make the run again with its files beside the suite, or move it away"
            )


def archives_in(folder: Path) -> dict[str, Path]:
    """The archives of a folder by their course, in the order of the courses' names."""
    found = {path.name.removesuffix(".tar.xz"): path for path in folder.glob("*.tar.xz")}
    return dict(sorted(found.items()))


def check_sizes(folder: Path, name: str, size: int) -> int:
    """Bytes of all archives in ``folder`` with ``name`` replaced by one of ``size``. Raises UserError above ``LIMIT_MIB``."""
    total = size + sum(p.stat().st_size for p in folder.glob("*.tar.xz") if p.name != name)
    if total > LIMIT_MIB * 2**20:
        raise UserError(
            f"{name} has {size / 2**20:.1f} MiB and all archives in {folder} would have {total / 2**20:.1f}, more than {LIMIT_MIB} MiB; "
            "leave a course out"
        )
    return total
