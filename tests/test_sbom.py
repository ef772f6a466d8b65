"""The SBOM says what was installed, in CycloneDX, and says the same each time."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from projects import ZSTD, build, uv, write_project
from stages import stage_of
from underway.release import Application, Artefact, BuildContext, Release
from underway.steps import sbom
from underway.toolchain import interpreters
from underway.toolchain.interpreters import Interpreter
from wheels import locked_project, write_wheel

OWN = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
    "metadata": {
        "timestamp": "2026-01-01T00:00:00Z",
        "component": {"bom-ref": "me", "name": "fast", "type": "library"},
    },
    "components": [
        {
            "bom-ref": "zlib",
            "type": "library",
            "name": "zlib",
            "version": "1.3",
            "components": [{"bom-ref": "adler", "type": "file", "name": "adler32.c"}],
        }
    ],
    "dependencies": [
        {"ref": "me", "dependsOn": ["zlib", "nowhere"]},
        {"ref": "zlib", "dependsOn": ["adler"]},
        {"ref": "nowhere"},
    ],
}
"""An SBOM of a wheel's own, of a later specification than ours; one reference in it leads nowhere."""


@pytest.fixture(scope="module")
def python() -> Interpreter:
    return interpreters.describe(Path(sys.executable))


@pytest.fixture(scope="module")
def applications(python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Application]:
    root = tmp_path_factory.mktemp("project")
    fast = {
        "fast.py": "",
        "fast-1.0+cpu.dist-info/sboms/fast.cdx.json": json.dumps(OWN),
        "fast-1.0+cpu.dist-info/sboms/broken.json": "{",
        "fast-1.0+cpu.dist-info/sboms/fast.spdx.json": '{"spdxVersion": "SPDX-2.3"}',
    }
    wheels = [
        write_wheel(root, "fast", fast, version="1.0+cpu"),
        write_wheel(root, "slow-poke", {"slow_poke.py": ""}, requires=["fast"]),
    ]
    return stage_of(locked_project(root, wheels), tmp_path_factory.mktemp("stage"), python)


@pytest.fixture
def release(applications: dict[str, Application], python: Interpreter, tmp_path: Path) -> Release:
    home = tmp_path / "r" / f"python-{python.version}"
    for path in (f"bin/python{python.minor}", "lib/libssl.so.3", f"lib/python{python.minor}/os.py"):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(path)
    (tmp_path / "r/releases/1").mkdir(parents=True)
    fast = Artefact({"sha256": "ab" * 32, "blake2b": "cd" * 32, "md5": "ef" * 16}, "https://example.org/fast.whl")
    return Release(
        name="r",
        version="1",
        path=tmp_path / "r",
        version_path=tmp_path / "r/releases/1",
        applications=applications,
        interpreter_source=python.executable,
        interpreter_version=python.version,
        boot_scripts={},
        context=BuildContext(artefacts={"fast": fast}),
    )


def written(release: Release, **environ: str) -> dict[str, Any]:
    text = sbom.write_sbom(release, {}, environ).read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def component(document: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [component for component in document["components"] if component["name"] == name]
    return dict(found)


def references(components: list[dict[str, Any]]) -> Iterator[str]:
    for one in components:
        yield one["bom-ref"]
        yield from references(one.get("components", []))


def test_each_application_is_a_component(release: Release) -> None:
    """Name, version and purl of each; of one that was downloaded, the hashes that CycloneDX knows and the address."""
    document = written(release)

    assert [one["name"] for one in document["components"]][1:] == [
        *(name.replace("_", "-") for name in ZSTD),
        "fast",
        "slow-poke",
        "underway-runtime",
    ]
    fast = component(document, "fast")
    assert fast["version"] == "1.0+cpu"
    assert fast["purl"] == fast["bom-ref"] == "pkg:pypi/fast@1.0%2Bcpu"
    assert fast["hashes"] == [{"alg": "MD5", "content": "ef" * 16}, {"alg": "SHA-256", "content": "ab" * 32}]
    assert fast["externalReferences"] == [{"type": "distribution", "url": "https://example.org/fast.whl"}]
    assert component(document, "underway-runtime")["licenses"] == [{"expression": "Apache-2.0"}]


def test_the_interpreter_is_a_component_with_its_digest(release: Release, python: Interpreter) -> None:
    """Version, cpe and the digest of the executable, and each library next to it; the host's own is excluded."""
    cpython = component(written(release), "cpython")
    digest = hashlib.sha256(f"bin/python{python.minor}".encode()).hexdigest()

    assert cpython["version"] == python.version
    assert cpython["cpe"] == f"cpe:2.3:a:python:python:{python.version}:*:*:*:*:*:*:*"
    assert cpython["hashes"] == [{"alg": "SHA-256", "content": digest}]
    [library] = cpython["components"]
    assert library["name"] == "libssl.so.3"
    hosts = component(written(replace(release, interpreter_source=None)), "cpython")
    assert hosts["scope"] == "excluded"
    assert "hashes" not in hosts


def test_what_wheels_say_of_themselves_is_within_their_component(release: Release) -> None:
    """PEP 770: components and dependencies of a wheel's own SBOM are taken over, under references that nothing else has."""
    document = written(release)
    fast = component(document, "fast")
    prefix = "pkg:pypi/fast@1.0%2Bcpu#fast.cdx.json:"
    depends = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}

    assert [one["name"] for one in fast["components"]] == ["zlib"]
    assert fast["components"][0]["components"] == [{"bom-ref": f"{prefix}adler", "type": "file", "name": "adler32.c"}]
    assert depends["pkg:pypi/fast@1.0%2Bcpu"] == [f"{prefix}zlib"]
    assert depends[f"{prefix}zlib"] == [f"{prefix}adler"]
    assert depends["pkg:pypi/slow-poke@1.0"] == ["pkg:pypi/fast@1.0%2Bcpu"]
    assert document["specVersion"] == "1.6"


def test_every_reference_is_there_and_there_once(release: Release) -> None:
    """What depends on what is told in references of components that are in the document."""
    document = written(release)
    known = [document["metadata"]["component"]["bom-ref"], *references(document["components"])]

    assert len(known) == len(set(known))
    assert {one["ref"] for one in document["dependencies"]} <= set(known)
    assert {ref for one in document["dependencies"] for ref in one["dependsOn"]} <= set(known)


def test_it_is_the_same_each_time(release: Release) -> None:
    """The serial number is made from what it says; there is no date unless one is given."""
    one, other = written(release), written(release)

    assert one == other
    assert "timestamp" not in one["metadata"]
    assert written(release, SOURCE_DATE_EPOCH="0")["metadata"]["timestamp"] == "1970-01-01T00:00:00+00:00"
    assert written(replace(release, version="2"))["serialNumber"] != one["serialNumber"]


def test_it_is_what_cyclonedx_allows(release: Release) -> None:
    """With all that it can hold, it fits the schema of the version that it names."""
    validation = import_module("cyclonedx.validation.json")  # which takes a second, for this test alone
    written = sbom.write_sbom(release, {}, {"SOURCE_DATE_EPOCH": "0"}).read_text()
    schema = import_module("cyclonedx.schema").SchemaVersion.from_version(json.loads(written)["specVersion"])

    assert validation.JsonStrictValidator(schema).validate_str(written) is None


@pytest.mark.e2e
def test_it_holds_what_uv_says_and_is_in_the_manifest(tmp_path: Path) -> None:
    """All that uv's own export names for this platform is in the SBOM of the release, by the same purl."""
    root = write_project(
        tmp_path,
        '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n',
        dependencies=["markupsafe", "h11"],
    )
    exported = tmp_path / "uv.cdx.json"
    command = ("export", "--quiet", "--preview", "--format", "cyclonedx1.5", "--output-file", str(exported))
    uv(*command, cwd=root)
    wanted = {one["purl"] for one in json.loads(exported.read_text())["components"]}
    release = build(root)
    [file] = release.glob("releases/*/sbom.cdx.json")
    found = json.loads(file.read_text())
    manifest = json.loads(file.with_name("manifest.json").read_text())

    assert wanted
    assert wanted <= {one.get("purl") for one in found["components"]}
    assert component(found, "hello")["type"] == "application"
    assert component(found, "h11")["externalReferences"][0]["url"].startswith("https://")
    assert manifest["files"][file.relative_to(release).as_posix()]["size"] == file.stat().st_size
