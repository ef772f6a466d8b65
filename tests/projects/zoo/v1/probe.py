import importlib.metadata, importlib.resources, json, os, pkgutil, sys


def of_pkg_resources():
    import pkg_resources
    from pkg_resources import Requirement

    flat = lambda name: name.lower().replace("_", "-").replace(".", "-")
    one = pkg_resources.get_distribution("jsonschema")
    return [
        sorted(
            {flat(each.project_name) for each in pkg_resources.working_set} - {"backports-zstd", "underway-runtime"}
        ),
        one.version,
        one.has_metadata("RECORD"),
        sorted(str(each) for each in one.requires()),
        sorted({flat(each.project_name) for each in pkg_resources.require("sqlalchemy")}),
        pkg_resources.load_entry_point("gunicorn", "console_scripts", "gunicorn").__module__,
        sorted(each.name for each in pkg_resources.iter_entry_points("babel.checkers")),
        os.path.isdir(os.path.join(one.location, "jsonschema")),
        os.path.isfile(pkg_resources.resource_filename(Requirement.parse("certifi"), "certifi/cacert.pem")),
        pkg_resources.resource_string("certifi", "cacert.pem")[:1] != b"",
        len([*pkg_resources.find_distributions(one.location)]) > 0,
        "jsonschema" in pkg_resources.Environment(),
        "no such path was added" if not any("jsonschema-" in each for each in sys.path) else sys.path,
    ]


def of_metadata():
    import importlib_metadata

    found = [importlib.metadata.version("zope.event"), importlib_metadata.version("zope_event")]
    return [*found, sorted(each.name for each in importlib.metadata.entry_points(group="babel.checkers"))]


def of_files():
    """But scripts, and what the installer has written."""
    installers = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
    files = {name: importlib.metadata.files(name) for name in ("gunicorn", "jsonschema", "certifi")}
    return [
        [all(file.locate().is_file() for file in found) for found in files.values()],
        [
            sorted(
                str(file)
                for file in found
                if ".." not in file.parts and file.suffix != ".pyc" and file.name not in installers
            )
            for found in files.values()
        ],
    ]


def of_stevedore():
    import pbr.version
    from stevedore import ExtensionManager

    return [sorted(ExtensionManager("babel.checkers").names()), pbr.version.VersionInfo("stevedore").release_string()]


def of_modules_that_replace_themselves():
    import apipkg, lazy_loader, py, sh, six
    from six.moves.urllib.parse import quote
    from sh import echo

    return [
        str(echo("hi")).strip(),
        quote("a b"),
        py.path.local("/tmp").basename,
        lazy_loader.load("json").dumps([1]),
        type(sys.modules["sh"]).__name__,
    ]


def of_data():
    import babel, importlib_resources, pytz

    pem = importlib.resources.files("certifi").joinpath("cacert.pem")
    return [
        pem.is_file(),
        importlib_resources.files("certifi").joinpath("cacert.pem").is_file(),
        babel.Locale("de").english_name,
        str(pytz.timezone("Europe/Berlin")),
        len(pkgutil.get_data("certifi", "cacert.pem")) > 1000,
    ]


def of_namespaces():
    import repoze.lru, zope.event, zope.interface

    return [sorted(each.name for each in pkgutil.iter_modules(sys.modules["zope"].__path__)), repoze.lru.__name__]


def of_dialects():
    import sqlalchemy

    return [sqlalchemy.create_engine("sqlite://").connect().execute(sqlalchemy.text("select 1")).scalar()]


def of_children():
    import multiprocessing, subprocess

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.map(len, [[1, 2]])
    patched = (
        "import gevent.monkey; gevent.monkey.patch_all(); import requests, threading; print(threading.active_count())"
    )
    run = lambda code: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    return [spawned, run("import jsonschema; print(jsonschema.__name__)"), run(patched)]


if __name__ == "__main__":
    found = {}
    for name, probe in list(globals().items()):
        if name.startswith("of_"):
            found[name] = probe()
    print(json.dumps(found))
