"""What is in a release, for tools that look for known faults: ``releases/V/sbom.cdx.json``, in CycloneDX's JSON.

==================  ============================================  ================================================
component           of type                                       known by
==================  ============================================  ================================================
the release         application                                   name and version
each application    library, or application if it was built here  purl, the hash and address of its wheel, licence
- what is in it     as its wheel's own SBOMs say (PEP 770)        what those say
the interpreter     platform                                      cpe, purl, the digest of its executable
- its libraries     library                                       their digests
==================  ============================================  ================================================

It says what was installed, where a lock says what might be. The same release gives the same bytes: the serial number
is made from the contents, and there is a date only with SOURCE_DATE_EPOCH.

cyclonedx-python-lib validates it in the tests; its model is not used here, because importing that takes 120 ms of each build and it
writes in words of its own what wheels' SBOMs say.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from underway_runtime.release.archives.tar_layout import source_date
from underway_runtime.release.directory import ReleaseDirectory, VersionDirectory, minor

from ..packages.application_entries import entry_of
from ..release import Application, Artefact, Release
from ..toolchain.cached_tree import File

SPECIFICATION = "1.5"
ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
"""As locks write them, and as CycloneDX does."""


def write_sbom(release: Release, placed: Mapping[str, File], environ: Mapping[str, str] = os.environ) -> Path:
    """Write the SBOM of an assembled release and return its path; `placed` are files whose digests are known."""
    target = VersionDirectory(release.version_path).sbom
    target.write_text(text(document(release, placed, environ)), encoding="utf-8")
    return target


def document(release: Release, placed: Mapping[str, File], environ: Mapping[str, str]) -> dict[str, Any]:
    """The SBOM as plain data."""
    applications = sorted(release.applications.values(), key=lambda app: app.name)
    bundled = {app.name: list(_own_sboms(app)) for app in applications}
    components = [_interpreter(release, placed)]
    components += [_component(release, app, bundled[app.name]) for app in applications]
    itself = f"release:{release.name}@{release.version}"
    known = {itself, *_references(components)}
    depends: dict[str, set[str]] = {itself: {component["bom-ref"] for component in components}}
    for app in applications:
        depends[_purl(app)] = {_purl(release.applications[name]) for name in app.requires}
        for prefix, part in bundled[app.name]:
            for ref, refs in _dependencies(app, prefix, part):
                depends.setdefault(ref, set()).update(refs)
    metadata: dict[str, Any] = {
        "tools": {"components": [{"type": "application", "name": "underway", "version": version("underway")}]},
        "component": {"type": "application", "bom-ref": itself, "name": release.name, "version": release.version},
    }
    if environ.get("SOURCE_DATE_EPOCH"):
        metadata = {"timestamp": datetime.fromtimestamp(source_date(environ), UTC).isoformat(), **metadata}
    content = {
        "metadata": metadata,
        "components": components,
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(refs & known)} for ref, refs in sorted(depends.items()) if ref in known
        ],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    specifications = [str(part.get("specVersion")) for pairs in bundled.values() for _, part in pairs]
    return {
        "bomFormat": "CycloneDX",
        # What a wheel says in the words of a later version is kept, so the whole is of that version.
        "specVersion": max(name for name in (*specifications, SPECIFICATION) if _is_known(name)),
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=5)}",
        "version": 1,
        **content,
    }


def text(sbom: Mapping[str, Any]) -> str:
    """The text of an SBOM: a line for each component."""
    parts = []
    for key, value in sbom.items():
        if isinstance(value, list):
            lines = ",\n".join(f"  {json.dumps(item)}" for item in value)
            parts.append(f' "{key}": [\n{lines}\n ]')
        else:
            parts.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _component(release: Release, app: Application, bundled: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "application" if app.local else "library",
        "bom-ref": _purl(app),
        "name": canonicalize_name(app.name),
        "version": app.version,
        "purl": _purl(app),
    }
    artefact = release.context.artefacts.get(app.name, Artefact({}))
    hashes = [
        {"alg": ALGORITHMS[algorithm], "content": content}
        for algorithm, content in sorted(artefact.hashes.items())
        if algorithm in ALGORITHMS
    ]
    if hashes:
        component["hashes"] = hashes
    entry = entry_of(app)
    if entry is not None and entry.facts["license"]:
        component["licenses"] = [{"expression": entry.facts["license"]}]
    if artefact.url:
        component["externalReferences"] = [{"type": "distribution", "url": artefact.url}]
    inside = [
        _renamed(part, prefix) for prefix, part_document in bundled for part in part_document.get("components", [])
    ]
    return {**component, "components": inside} if inside else component


def _purl(app: Application) -> str:
    return f"pkg:pypi/{canonicalize_name(app.name)}@{app.version.replace('+', '%2B')}"


def _interpreter(release: Release, placed: Mapping[str, File]) -> dict[str, Any]:
    number = release.interpreter_version
    component: dict[str, Any] = {
        "type": "platform",
        "bom-ref": f"pkg:generic/cpython@{number}",
        "name": "cpython",
        "version": number,
        "cpe": f"cpe:2.3:a:python:python:{number.rstrip('+')}:*:*:*:*:*:*:*",
        "purl": f"pkg:generic/cpython@{number}",
    }
    if release.interpreter_source is None:
        return {**component, "scope": "excluded"}  # it is the host's
    home = ReleaseDirectory(release.path).interpreter(number)

    def hashes(file: Path) -> list[dict[str, str]]:
        known = placed.get(file.relative_to(release.path).as_posix())
        digest = known.sha256 if known else hashlib.sha256(file.read_bytes()).hexdigest()
        return [{"alg": "SHA-256", "content": digest}]

    libraries = sorted(file for file in (home / "lib").glob("*.so*") if file.is_file())
    inside = [
        {"type": "library", "bom-ref": f"{component['bom-ref']}#{file.name}", "name": file.name, "hashes": hashes(file)}
        for file in libraries
    ]
    component["hashes"] = hashes(home / "bin" / f"python{minor(number)}")
    return {**component, "components": inside} if inside else component


def _own_sboms(app: Application) -> Iterator[tuple[str, dict[str, Any]]]:
    """The CycloneDX documents in a dist-info, each with what makes its references unique."""
    if not app.dist_info:
        return
    for file in sorted((app.source / app.dist_info / "sboms").glob("*.json")):
        try:
            document = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if (
            isinstance(document, dict)
            and document.get("bomFormat") == "CycloneDX"
            and _is_known(str(document.get("specVersion")))
        ):
            yield f"{_purl(app)}#{file.name}:", document


def _references(components: list[dict[str, Any]]) -> Iterator[str]:
    for component in components:
        if "bom-ref" in component:
            yield component["bom-ref"]
        yield from _references(component.get("components", []))


def _is_known(specification: str) -> bool:
    """Whether a version can be within ours; each later one holds those before it."""
    return specification in ("1.3", "1.4", "1.5", "1.6")


def _renamed(component: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A component of a wheel's SBOM, and those in it, with references that are unique in ours."""
    renamed = dict(component)
    if "bom-ref" in component:
        renamed["bom-ref"] = prefix + component["bom-ref"]
    if "components" in component:
        renamed["components"] = [_renamed(part, prefix) for part in component["components"]]
    return renamed


def _dependencies(app: Application, prefix: str, document: Mapping[str, Any]) -> Iterator[tuple[str, set[str]]]:
    """What depends on what in a wheel's SBOM; its subject is the application."""
    subject = document.get("metadata", {}).get("component", {}).get("bom-ref")
    for dependency in document.get("dependencies", []):
        ref = _purl(app) if dependency["ref"] == subject else prefix + dependency["ref"]
        yield ref, {prefix + other for other in dependency.get("dependsOn", [])}
