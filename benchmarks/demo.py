"""What each job of a run took: a table of its rules, and a chart of its jobs over time.

Example, after 'make demo':
  python benchmarks/demo.py results/demo/logs docs/demo_jobs.png
"""

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from galcarto.figures.style import BLUE, PAGE, STYLE, save

COST = re.compile(r"started (\S+), took (\S+) s and (\S+) s of CPU, at most (\d+) MB")
ROW = 0.16  # inches


def jobs(folder: Path) -> pd.DataFrame:
    """One row for each job: rule, start (s after the first), wall and cpu (s), memory (MB), ordered by start."""
    rows = []
    for path in sorted(folder.rglob("*.log")):
        if found := COST.search(path.read_text()):
            start, *numbers = found.groups()
            rows.append((path.relative_to(folder).parts[0].removesuffix(".log"), pd.Timestamp(start), *numbers))
    if not rows:
        raise SystemExit(f"{folder}: found no log of a stage with its cost; expected the logs of a run")
    table = pd.DataFrame(rows, columns=["rule", "start", "wall", "cpu", "memory"])
    table = table.astype({"wall": float, "cpu": float, "memory": float}).sort_values("start", ignore_index=True)
    table["start"] = (table["start"] - table["start"].iloc[0]).dt.total_seconds()
    return table


def by_rule(table: pd.DataFrame) -> str:
    """Markdown: jobs, wall time and CPU time of each rule, and the largest memory of a process."""
    rules = table.groupby("rule").agg(
        jobs=("wall", "size"), wall=("wall", "sum"), cpu=("cpu", "sum"), memory=("memory", "max")
    )
    rules = rules.sort_values("cpu", ascending=False)
    end, cpu, memory = (table["start"] + table["wall"]).max(), table["cpu"].sum(), table["memory"].max()
    lines = ["| Rule | jobs | wall time, s | CPU time, s | memory, MB |", "|---|---|---|---|---|"]
    lines += [
        f"| `{row.Index}` | {row.jobs} | {row.wall:.1f} | {row.cpu:.1f} | {row.memory:.0f} |"
        for row in rules.itertuples()
    ]
    lines.append(f"| together | {len(table)} | {end:.0f} from start to end | {cpu:.0f} | {memory:.0f} |")
    return "\n".join(lines)


@STYLE
def chart(table: pd.DataFrame) -> Figure:
    """A bar for each job, one rule a row, with the share of a core that it kept busy, and the cores in use."""
    rules = list(dict.fromkeys(table["rule"]))
    figure = Figure(figsize=(PAGE, ROW * len(rules) + 1.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[ROW * len(rules), 0.9])
    rows = table["rule"].map(rules.index)
    above.barh(rows, table["wall"], left=table["start"], height=0.8, color=BLUE, edgecolor="white", lw=0.4)
    above.set_yticks(range(len(rules)), rules, fontsize=6.5)
    above.invert_yaxis()
    above.grid(axis="x", lw=0.3, color="0.8")
    above.set_axisbelow(True)
    ends = table["start"] + table["wall"]
    at = np.arange(0.0, ends.max(), 0.5)
    running = (table["start"].to_numpy() <= at[:, None]) & (ends.to_numpy() > at[:, None])
    below.fill_between(at, running @ (table["cpu"] / table["wall"]).to_numpy(), step="mid", color=BLUE, alpha=0.5, lw=0)
    below.set(
        xlabel="Time after the start of the first job (s)", ylabel="Cores busy", ylim=(0, None), xlim=(0, ends.max())
    )
    return figure


def main() -> None:
    """Print the table and write the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, help="folder of a run's logs")
    parser.add_argument("chart", type=Path, help="PNG or PDF file to write")
    args = parser.parse_args()
    table = jobs(args.logs)
    print(by_rule(table))
    save(chart(table), args.chart)


if __name__ == "__main__":
    main()
