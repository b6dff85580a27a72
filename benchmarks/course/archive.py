"""A course as one file: a tar of its records, the same bytes for the same records, unpacked with care.

Inside is the folder ``SUITE`` as ``halfway report --runs-dir`` reads it: ``course.json`` (what the report needs beside the runs),
``suite.toml``, ``lock.toml``, ``regime/*.parquet``, and per finished run ``spec.json`` and ``ledger.jsonl``.
"""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import UserError
from harness.records.ledger import line_of, parse_line
from harness.records.ledger_records import RunStart, from_json, to_json
from harness.records.run_folder import RunPaths
from harness.spec import RunSpec

#: All archives together; a repository is cloned by everybody.
LIMIT_MIB = 10

#: Ledgers shrink to a ninth; it takes seconds per ten runs.
PRESET = 9 | lzma.PRESET_EXTREME

#: Significant digits of fractions in an archived ledger.
DIGITS = 7


def packed(members: Mapping[str, bytes], order: Sequence[str] = ()) -> bytes:
    """A tar.xz of ``members`` by name, sorted, without owners; times are 0, or the place in ``order``, which readers sort by."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(members):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(members[name]), 0o644
            entry.mtime = order.index(name) + 1 if name in order else 0
            tar.addfile(entry, io.BytesIO(members[name]))
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
                if (output / entry.name).exists():
                    raise UserError(f"{output / entry.name} exists; unpack {archive.name} into an empty folder")
            output.mkdir(parents=True, exist_ok=True)
            tar.extractall(output, members=entries, filter="data")
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise UserError(f"cannot read the archive {archive}: {getattr(error, 'strerror', None) or error}; pack the course again") from error
    return [entry.name for entry in entries]


def _check_entry(entry: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(entry.name)
    if not entry.isreg() or path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise UserError(f"{archive} holds {entry.name!r}, which is no plain file below the folder of a suite: it is no archive of a course")


def records_of(paths: RunPaths) -> dict[str, bytes]:
    """``spec.json`` and ``ledger.jsonl`` of a run as they are archived.

    Without the folder its suite lay in, which is no part of its identity, and with fractions to ``DIGITS`` digits: half of an archive
    would be the digits of seconds beyond the microsecond.
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


def _rounded(value: Any) -> Any:
    """JSON data with every fraction to ``DIGITS`` significant digits, but for the run's settings, of which its identity is made."""
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {key: item if key == "spec" else _rounded(item) for key, item in value.items()}
        case list():
            return [_rounded(item) for item in value]
    return value


def check_no_machine_paths(members: Mapping[str, bytes], places: Sequence[Path]) -> None:
    """Raise UserError if a member names one of these folders: others neither have them nor should learn of them."""
    for name, content in members.items():
        found = next((place for place in places if len(place.parts) > 1 and str(place).encode() in content), None)
        if found is not None:
            raise UserError(
                f"{name} names the folder {found} of this machine; make the run again with its files beside the suite, or move it away"
            )


def check_sizes(folder: Path, name: str, size: int) -> int:
    """Bytes of all archives in ``folder`` with ``name`` replaced by one of ``size``. Raises UserError above ``LIMIT_MIB``."""
    total = size + sum(p.stat().st_size for p in folder.glob("*.tar.xz") if p.name != name)
    if total > LIMIT_MIB * 2**20:
        raise UserError(
            f"{name} has {size / 2**20:.1f} MiB and all archives in {folder} would have {total / 2**20:.1f}, more than {LIMIT_MIB} MiB; "
            "leave a course out"
        )
    return total
