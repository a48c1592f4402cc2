"""Who may import whom: the rules of docs/explanation/architecture.md, enforced."""

import ast
from pathlib import Path

import lineart

ROOT = Path(lineart.__file__).parent
PACKAGES = ("storage", "artifacts", "lineage")
ALLOWED = {
    "storage": {"storage"},
    "artifacts": {"storage", "artifacts"},
    "lineage": {"storage", "artifacts", "lineage"},
}
ONLY_IN = {
    "fsspec": ("storage/backends/", "artifacts/external.py", "artifacts/filesystem.py"),
    "s3fs": ("storage/backends/",),
    "gcsfs": ("storage/backends/",),
    "cryptography": ("lineage/signing/keys.py",),
    "networkx": ("lineage/",),
    "typer": ("cli.py", "commands/"),
    "rich": ("cli.py", "commands/", "display.py", "progress.py", "demo.py"),
    "alembic": ("storage/schema.py", "storage/migrations/"),
}
READS_ENVIRONMENT = {"cli.py", "environment.py"}


def modules():
    """Yield (path relative to the package, syntax tree) of every module of the package."""
    folders = [
        ROOT,
        *(
            path
            for name in (*PACKAGES, "commands")
            for path in [ROOT / name, *(ROOT / name).rglob("*")]
            if path.is_dir()
        ),
    ]
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imports(path, tree):
    """Yield (absolute dotted name within the package or outside, whether it is only for types) of each import."""
    only_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    here = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield one.name, id(node) in only_types
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield node.module, id(node) in only_types
                continue
            base = here[: len(here) - (node.level - 1)]
            if node.module:
                yield ".".join(["lineart", *base, node.module]), id(node) in only_types
            else:
                for one in node.names:
                    yield ".".join(["lineart", *base, one.name]), id(node) in only_types


def test_packages_import_only_what_lies_below_them():
    wrong = []
    for path, tree in modules():
        package = path.split("/")[0]
        if package not in PACKAGES:
            continue
        for name, _ in imports(path, tree):
            if name.startswith("lineart."):
                target = name.split(".")[1]
                if target not in ALLOWED[package]:
                    wrong.append(f"{path} imports {name}")
    assert wrong == []


def test_some_libraries_are_imported_only_where_their_part_lives():
    wrong = []
    for path, tree in modules():
        for name, only_types in imports(path, tree):
            places = ONLY_IN.get(name.split(".")[0])
            if places is not None and not only_types and not path.startswith(places):
                wrong.append(f"{path} imports {name}")
    assert wrong == []


def test_storage_keeps_the_database_to_modules_that_hold_transactions():
    pure = {"digest.py", "errors.py", "layout.py", "pack.py", "codec.py", "recipe.py", "chunking.py", "marker.py"}
    wrong = [
        f"{path} imports {name}"
        for path, tree in modules()
        if path.startswith("storage/") and (path.split("/")[-1] in pure or path.startswith("storage/backends/"))
        for name, _ in imports(path, tree)
        if name.split(".")[0] in {"sqlalchemy", "sqlmodel"}
    ]
    assert wrong == []


def test_only_the_command_and_one_module_read_the_environment():
    wrong = []
    for path, tree in modules():
        if path in READS_ENVIRONMENT:
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in {"environ", "getenv", "environb"}
                and ast.unparse(node.value) == "os"
            ):
                wrong.append(f"{path}:{node.lineno}")
    assert wrong == []


def test_no_module_is_longer_than_350_lines():
    long = {
        path: count
        for path, _ in modules()
        if (count := len((ROOT / path).read_text(encoding="utf-8").splitlines())) > 350
    }
    assert long == {}


def test_every_module_says_first_what_it_knows():
    silent = [path for path, tree in modules() if ast.get_docstring(tree) is None and tree.body]
    assert silent == []


def test_every_package_of_the_tree_is_in_the_wheel():
    import tomllib

    packages = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"lineart"}
    for path, _ in modules():
        folder = path.rpartition("/")[0]
        if folder:
            found.add("lineart." + folder.replace("/", "."))
    assert found == packages
