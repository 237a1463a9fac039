"""Map the tiny region with two versions of the code and compare every number of the two results.

Run from the repository's root, with the environment of the tests:
  python benchmarks/same_numbers.py HEAD~3                  # a commit against the working tree
  python benchmarks/same_numbers.py HEAD~3 --keep /tmp/numbers --renamed strangeness=out_of_distribution

Compared are the arrays of netCDF files, the columns of tables, the numbers of JSON files and the network's tensors.
Provenance, and a tensor's name, may differ. Exit code 1 where anything else does.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

ROOT = Path(__file__).parents[1]
UNMEASURED = ("seconds", "speed_ratio", "provenance", "zarr.json")  # numbers of one run, or what says which run it was


def make(code: Path, commit: str | None) -> Path:
    """The folder of the tiny region's results, made where it is not there yet."""
    if not code.exists():
        if commit is None:
            listing = ["git", "ls-files", "-co", "--exclude-standard"]
            names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
            for name in names:
                if (ROOT / name).exists():
                    (code / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / name, code / name, follow_symlinks=False)
        else:
            subprocess.run(["git", "worktree", "add", "--detach", str(code), commit], cwd=ROOT, check=True)
    region = code / "results/tiny"
    if not (region / "metrics.json").exists():
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        words = ["snakemake", "--cores", "2", "--configfile", "tests/tiny.yaml", "--replace-workflow-config", "--quiet"]
        environment = os.environ | {"PYTHONPATH": str(code / "src"), "PATH": path}
        subprocess.run([sys.executable, "-m", *words], cwd=code, env=environment, check=True)
    return region


def numbers(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of what a file holds; nothing of files that are not data."""
    if path.suffix == ".nc":
        for group in ("/", "samples"):
            try:
                dataset = xr.load_dataset(path, group=group)
            except OSError:
                continue
            for name in map(str, dataset.variables):
                yield f"{group}{name}", dataset[name].to_numpy()
    elif path.suffix in (".parquet", ".csv"):
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        for name in table:
            yield str(name), table[name].to_numpy()
    elif path.suffix == ".json":
        for name, value in leaves(json.loads(path.read_text())):
            yield name, np.array(value)
    elif path.suffix == ".pt":
        yield from tensors(torch.load(path, weights_only=True))


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield name, value
    else:
        for key, inner in items:
            yield from leaves(inner, f"{name}.{key}")


def tensors(content: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors of a network's file by size and sum, as the place of a tensor in the file is no number."""
    found = [value.numpy() for _, value in leaves(content) if isinstance(value, torch.Tensor) and value.numel() > 1]
    for place, array in enumerate(sorted(found, key=lambda array: (array.shape, array.tobytes()))):
        yield f"tensor {place}", array


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal, value by value."""
    if one.dtype.kind in "fc" and other.dtype.kind in "fc":
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    return one.shape == other.shape and bool(np.all((one == other) | (pd.isnull(one) & pd.isnull(other))))


def main() -> int:
    """Compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="commit to compare with")
    parser.add_argument("--after", help="another commit; by default the working tree")
    parser.add_argument("--keep", type=Path, help="folder to keep both results in, and to take them from if there")
    parser.add_argument("--renamed", nargs="*", default=[], metavar="OLD=NEW", help="words of names that changed")
    args = parser.parse_args()
    renamed = dict(pair.split("=") for pair in args.renamed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        before, after = make(folder / "before", args.before), make(folder / "after", args.after)
        values: list[dict[str, np.ndarray]] = []
        for region, words in ((before, renamed), (after, {})):
            found = {}
            for path in sorted(region.rglob("*")):
                for name, value in numbers(path) if path.is_file() else ():
                    whole = f"{path.relative_to(region)}: {name}"
                    for old, new in words.items():
                        whole = whole.replace(old, new)
                    if not any(word in whole for word in UNMEASURED):
                        found[whole] = value
            values.append(found)
        if not args.keep:
            subprocess.run(["git", "worktree", "remove", "--force", str(folder / "before")], cwd=ROOT, check=True)
    old, new = values
    faults = [f"only before: {name}" for name in old.keys() - new.keys()]
    faults += [f"only after: {name}" for name in new.keys() - old.keys()]
    faults += [f"differs: {name}" for name in old.keys() & new.keys() if not same(old[name], new[name])]
    print("\n".join(sorted(faults)), end="\n" if faults else "")
    files = len({name.partition(":")[0] for name in old})
    print(f"{len(old)} arrays of {files} files, {sum(value.size for value in old.values())} values: ", end="")
    print(f"{len(faults)} differ" if faults else "all equal")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
