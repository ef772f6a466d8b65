"""The commands of a release, as ratios to `python -I -S -c 0`, next to those of a Mix release where Elixir is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from _measure import compare, free_port, make_release, rounds, run, scratch_project, timed

MIX_PROJECT = {
    "mix.exs": """defmodule Demo.MixProject do
  use Mix.Project
  def project, do: [app: :demo, version: "0.1.0", deps: []]
  def application, do: [mod: {Demo, []}]
end
""",
    "lib/demo.ex": """defmodule Demo do
  use Application
  def start(_, _), do: Supervisor.start_link([], strategy: :one_for_one)
end
""",
}


def main() -> None:
    """Measure one command of each after the other, in rounds."""
    with ExitStack() as stack:
        release = make_release(stack.enter_context(scratch_project()))
        ours = Release(release / "bin/chat", {"CHAT_LISTEN": f"tcp://127.0.0.1:{free_port()}"})
        python = [str(next(release.glob("releases/*/bin/python"))), "-I", "-S", "-c", "0"]
        ways: dict[str, Callable[[], float]] = {
            "python -I -S -c 0": lambda: timed(lambda: subprocess.run(python, check=True)),
            **ours.ways("underway"),
        }
        stack.callback(ours.end)
        if shutil.which("mix") is None:
            print("not measured, for want of mix (apt install elixir): a Mix release")
        else:
            mix = stack.enter_context(mix_release())
            stack.callback(mix.end)
            ways |= mix.ways("Mix")
        for way in ways.values():
            way()
        compare("What a command takes", ways, rounds(10))


class Release:
    """A release whose commands are measured; it runs while they are."""

    def __init__(self, command: Path, env: dict[str, str]) -> None:
        self._command = command
        self._env = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **env}
        self._server: subprocess.Popen[bytes] | None = None
        self._has_daemon = "daemon" in self._run("help").stderr

    def ways(self, whose: str) -> dict[str, Callable[[], float]]:
        """How long each command takes; the last two begin with a release that does not run and end with one that does not."""
        ways: dict[str, Callable[[], float]] = {
            f"{whose} rpc": self._timed("rpc", "1"),
            f"{whose} eval": self._timed("eval", "1"),
            f"{whose} version": self._timed("version"),
            f"{whose} stop": self._stop,
            f"{whose} {'daemon' if self._has_daemon else 'start'} to ready": self._start,
        }
        if whose == "underway":
            ways["underway status"] = self._timed("status")
        return ways

    def end(self) -> None:
        """Stop it, if it runs."""
        if self._runs():
            self._stop()
        if self._server is not None:
            self._server.wait(60)

    def _timed(self, *arguments: str) -> Callable[[], float]:
        def measure() -> float:
            if not self._runs():
                self._start()
            return timed(lambda: self._run(*arguments, check=True))

        return measure

    def _stop(self) -> float:
        """Until the process is gone; Mix's command returns before."""
        if not self._runs():
            self._start()
        pid = int(self._run("pid", check=True).stdout)
        began = time.perf_counter()
        self._run("stop", check=True)
        while _lives(pid):
            time.sleep(0.001)
        return time.perf_counter() - began

    def _start(self) -> float:
        """Until code can be run in it."""
        if self._runs():
            self._stop()
        began = time.perf_counter()
        if self._has_daemon:
            self._run("daemon", check=True)
        else:
            self._server = subprocess.Popen(
                [self._command, "start"], env=self._env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        while not self._runs():
            if time.perf_counter() - began > 60:
                sys.exit(f"{self._command} did not start within a minute")
        return time.perf_counter() - began

    def _runs(self) -> bool:
        return self._run("rpc", "1").returncode == 0

    def _run(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._command, *arguments], env=self._env, capture_output=True, text=True, timeout=60, check=check
        )


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def mix_release() -> Iterator[Release]:
    """A release of an application without dependencies, built without network; with a port mapper of its own."""
    with tempfile.TemporaryDirectory(prefix="underway-bench-") as scratch:
        project = Path(scratch, "demo")
        for name, text in MIX_PROJECT.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        run("mix", "release", "--quiet", cwd=project, MIX_ENV="prod", HOME=scratch, LC_ALL="C.UTF-8")
        root = project / "_build/prod/rel/demo"
        env = {"HOME": scratch, "ERL_EPMD_PORT": str(free_port())}
        try:
            yield Release(root / "bin/demo", env)
        finally:
            epmd = next(root.glob("erts-*/bin/epmd"))
            subprocess.run([epmd, "-kill"], env=env, capture_output=True, timeout=60, check=False)


if __name__ == "__main__":
    main()
